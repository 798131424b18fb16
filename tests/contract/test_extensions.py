"""Fields beyond the reference that shape an answer: truncation, repetition, its end, its rules, and token ids."""

from __future__ import annotations

import math
import re

from tests.contract.answers import Entry
from tests.contract.covering import covers
from tests.contract.doors import Door
from tests.contract.echo import END, START, encode_text
from tests.contract.tokens import ID_OF, TEXTLESS, TOKENIZER

HELLO = [START, *encode_text("user\nHello"), END, *encode_text("\n"), START, *encode_text("assistant\n")]
ASKED = dict(max_tokens=24, logprobs=True, top_logprobs=20, exact_logprobs=True, logit_bias=TEXTLESS, seed=4)
LETTERS = "bdfhjlnprtvxz" * 8  # more than one chunk of the prompt


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def with_text(entry: Entry) -> list[float]:
    """Log-probabilities of the reported tokens that the bias does not ban."""
    return [top.logprob for top in entry.top if top.bytes]


@covers("ChatCompletionRequest.top_k")
def test_top_k_keeps_the_likeliest(door: Door) -> None:
    for top_k in (1, 3):
        entries = door.ask(**ASKED, temperature=2, top_k=top_k).entries
        assert all(entry.logprob >= with_text(entry)[top_k - 1] for entry in entries)
    drawn = door.ask(**ASKED, temperature=2).entries
    assert any(entry.logprob < with_text(entry)[2] for entry in drawn)
    assert door.ask(**ASKED, temperature=2, top_k=0).entries == door.ask(**ASKED, temperature=2, top_k=-1).entries
    assert door.ask(**ASKED, temperature=2, top_k=2**31 - 1).entries == drawn


@covers("ChatCompletionRequest.min_p")
def test_min_p_keeps_tokens_near_the_likeliest(door: Door) -> None:
    entries = door.ask(**ASKED, temperature=1, min_p=0.3).entries
    assert all(entry.logprob >= with_text(entry)[0] + math.log(0.3) - 1e-4 for entry in entries)
    assert any(entry.logprob < with_text(entry)[0] for entry in entries)
    assert all(entry.logprob == with_text(entry)[0] for entry in door.ask(**ASKED, temperature=1, min_p=1).entries)
    assert any(
        entry.logprob < with_text(entry)[0] + math.log(0.3) for entry in door.ask(**ASKED, temperature=1).entries
    )


@covers("ChatCompletionRequest.repetition_penalty")
def test_the_repetition_penalty_counts_prompt_and_answer(door: Door) -> None:
    fields = ASKED | {"temperature": 0, "messages": say(LETTERS)}
    prompt = {ID_OF[char.encode()] for char in LETTERS + "assistant\nuser"}
    for _ in range(2):  # the second time from the prefix cache
        new = [ID_OF[entry.bytes] for entry in door.ask(**fields, repetition_penalty=100).entries]
        assert len({*new}) == len(new) == 24 and not {*new} & prompt
    repeated = {ID_OF[entry.bytes] for entry in door.ask(**fields, repetition_penalty=0.01).entries}
    assert repeated <= prompt
    assert door.ask(**fields, repetition_penalty=1).entries == door.ask(**fields).entries


@covers("ChatCompletionRequest.min_tokens")
def test_no_token_ends_an_answer_before_min_tokens(door: Door) -> None:
    ends = {"logit_bias": {str(END): 100}, "seed": 1}
    for least in (0, 1, 7):
        answer = door.ask(**ends, min_tokens=least, max_tokens=20)
        assert answer.usage and answer.usage[1] == least + 1 and answer.finish == "stop"
    assert door.ask(**ends, min_tokens=7, max_tokens=7).finish == "length"
    ended = door.ask(**ends, min_tokens=3, stop_token_ids=[65], max_tokens=20, return_token_ids=True)
    assert not {END, 65} & {*ended.choices[0].token_ids[:3]}


def test_a_grammar_that_has_ended_overrides_min_tokens(door: Door) -> None:
    answer = door.ask(structured_outputs={"choice": ["a", "bc"]}, min_tokens=9, max_tokens=20)
    assert answer.text in ("a", "bc") and answer.finish == "stop"
    longer = door.ask(structured_outputs={"regex": "[ab]+"}, min_tokens=9, max_tokens=20, logit_bias={str(END): 50})
    assert len(longer.text or "") == 9
    needed = door.ask(structured_outputs={"choice": ["aaaa"]}, min_tokens=3, stop_token_ids=encode_text("a"))
    assert (needed.text, needed.finish) == ("aaa", "stop")


def test_stop_strings_are_looked_for_after_min_tokens(echo: Door) -> None:
    for least, expected in ((0, "a"), (2, "a"), (3, "abxa"), (5, "abxa"), (6, "abxabxz")):
        assert echo.ask(messages=say("abxabxz"), stop=["bx"], min_tokens=least).text == expected


@covers("ChatCompletionRequest.stop_token_ids")
def test_a_stop_token_ends_the_answer_and_is_not_shown(echo: Door) -> None:
    (comma,) = encode_text(",")
    answer = echo.ask(messages=say("one,two"), stop_token_ids=[7, comma])
    assert (answer.text, answer.finish, answer.usage and answer.usage[1]) == ("one", "stop", 4)
    assert echo.ask(messages=say("one,two"), stop_token_ids=[]).text == "one,two"


@covers("ChatCompletionRequest.ignore_eos")
def test_the_models_own_end_can_be_ignored(echo: Door) -> None:
    answer = echo.ask(messages=say("ab"), ignore_eos=True, max_tokens=9)
    assert (answer.text, answer.finish, answer.usage and answer.usage[1]) == ("ab", "length", 9)
    stopped = echo.ask(messages=say("abc"), ignore_eos=True, max_tokens=9, stop_token_ids=encode_text("c"))
    assert (stopped.text, stopped.finish) == ("ab", "stop")
    assert echo.ask(messages=say("ab"), ignore_eos=False, max_tokens=9).finish == "stop"


@covers(
    "ChatCompletionRequest.return_token_ids",
    "ChatCompletion.prompt_token_ids",
    "ChatCompletionChunk.prompt_token_ids",
    "Choice.token_ids",
    "ChunkChoice.token_ids",
)
def test_token_ids_of_the_prompt_and_of_each_choice(door: Door) -> None:
    answer = door.ask(max_tokens=12, n=2, return_token_ids=True, seed=3)
    assert answer.prompt_token_ids == HELLO and answer.usage and answer.usage[0] == len(HELLO)
    assert sum(len(choice.token_ids) for choice in answer.choices) == answer.usage[1]
    for choice in answer.choices:
        data = b"".join(TOKENIZER.bytes_of(token) for token in choice.token_ids)
        assert data.decode("utf-8", "replace") == choice.text
    for fields in ({}, {"return_token_ids": False}):
        without = door.ask(max_tokens=2, **fields)
        assert without.prompt_token_ids == [] and without.choices[0].token_ids == []


def test_token_ids_have_what_stops_the_answer(echo: Door) -> None:
    answer = echo.ask(messages=say("abXYcd"), stop="XY", return_token_ids=True)
    assert answer.text == "ab" and answer.choices[0].token_ids == encode_text("abXY")
    assert echo.ask(messages=say("ab"), return_token_ids=True).choices[0].token_ids == [*encode_text("ab"), END]


GRAMMAR = 'start: greeting " " name\ngreeting: "hi" | "hello"\nname: /[A-Z][a-z]{1,4}/'


@covers(
    "ChatCompletionRequest.structured_outputs",
    "StructuredOutputs.regex",
    "StructuredOutputs.choice",
    "StructuredOutputs.grammar",
    "StructuredOutputs.json",
)
def test_answers_follow_their_structure(door: Door) -> None:
    rules = (
        ({"regex": r"\d{3}-[xy]"}, r"\d{3}-[xy]"),
        ({"choice": ["left", "right"]}, "left|right"),
        ({"grammar": GRAMMAR}, "(hi|hello) [A-Z][a-z]{1,4}"),
        ({"json": {"enum": [17, "a"]}}, '17|"a"'),
        ({"json": '{"type": "boolean"}', "regex": None}, "true|false"),
    )
    for rule, pattern in rules:
        answer = door.ask(structured_outputs=rule, temperature=2, seed=1, max_tokens=40, n=2)
        for choice in answer.choices:
            assert choice.finish == "stop" and re.fullmatch(pattern, choice.text), (rule, choice.text)


def test_a_structure_governs_answers_without_calls(door: Door) -> None:
    fields = {"tools": [{"type": "function", "function": {"name": "f"}}], "structured_outputs": {"regex": "[ab]{2}"}}
    for tool_choice, may_call in (("none", False), ("auto", True)):
        (said,) = door.ask(**fields, tool_choice=tool_choice, max_tokens=60).choices
        assert re.fullmatch("[ab]{2}", said.text or "") or (may_call and said.calls)
    (forced,) = door.ask(**fields, tool_choice="required", max_tokens=60).choices
    assert not forced.text and forced.calls[0].name == "f"
