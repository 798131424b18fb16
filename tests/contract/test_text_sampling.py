"""Text completions on a real model: the settings of chat, log-probabilities and grammars."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from jaxchat import v1
from jaxchat.openai_json import request_from_json
from tests.contract.covering import covers
from tests.contract.place import Place
from tests.contract.text_doors import NAMES, TextDoor
from tests.contract.tokens import ID_OF, TOKENIZER

REQUEST, ENTRY = "TextCompletionRequest", "TextTokenLogprob"
MESSAGES = [{"role": "user", "content": "Hello, who is there?"}]
BANNED = {str(ID_OF[bytes([byte])]): -100 for byte in range(0x20, 0x7F)}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"seed": 8},
    {"temperature": 0.3},
    {"temperature": 0},
    {"top_p": 0.2},
    {"top_k": 2},
    {"min_p": 0.5},
    {"temperature": 0, "presence_penalty": 2},
    {"temperature": 0, "frequency_penalty": -2},
    {"temperature": 0, "repetition_penalty": 1.3},
    {"logit_bias": {str(ID_OF[b"a"]): 6}},
    {"logit_bias": BANNED},
]


@pytest.fixture(params=NAMES)
def text(request: pytest.FixtureRequest, tiny_place: Place) -> Iterator[TextDoor]:
    yield TextDoor(request.param, tiny_place)
    tiny_place.wait_until_idle()


def chat_answer(place: Place, **fields: Any) -> tuple[list[int], list[int], list[float], list[list[float]]]:
    """Returns the prompt's ids, and the ids, log-probabilities and likeliest ones of a chat answer over gRPC."""
    body = {"model": place.model, "messages": MESSAGES, "return_token_ids": True, "logprobs": True, **fields}
    answer = place.stub.Complete(request_from_json({**body, "top_logprobs": 4, "exact_logprobs": True}).request)
    entries = answer.choices[0].logprobs.content
    tops = [[top.logprob for top in entry.top_logprobs] for entry in entries]
    ids = list(answer.choices[0].token_ids)
    return list(answer.prompt_token_ids), ids, [entry.logprob for entry in entries], tops


@covers(
    *(f"{REQUEST}.{name}" for name in ("seed", "temperature", "top_p", "top_k", "min_p", "logit_bias", "logprobs")),
    *(f"{REQUEST}.{name}_penalty" for name in ("presence", "frequency", "repetition")),
    *(f"{ENTRY}.{name}" for name in ("token", "logprob", "top_logprobs", "text_offset", "token_id")),
    "TextChoice.logprobs",
    "TextLogprobs.tokens",
)
def test_equal_ids_and_settings_give_the_answer_of_chat_bit_for_bit(text: TextDoor) -> None:
    fixed = {"seed": 7, "max_tokens": 24, "ignore_eos": True}
    seen = []
    for settings in SETTINGS:
        prompt, ids, logprobs, tops = chat_answer(text.place, **{**fixed, **settings})
        render = v1.RenderRequest(chat=request_from_json({"model": text.place.model, "messages": MESSAGES}).request)
        assert list(text.place.stub.Render(render).prompts[0].ids) == prompt
        answer = text.ask(prompt=prompt, logprobs=4, return_token_ids=True, user="me", **{**fixed, **settings})
        assert answer.choices[0].ids == ids
        shown = [entry for entry, token in zip(answer.entries, ids, strict=True) if TOKENIZER.bytes_of(token)]
        assert [entry.logprob for entry in shown] == logprobs
        assert [max(entry.top.values()) for entry in shown if entry.top] == [max(top) for top in tops]
        assert text.ask(prompt=prompt, return_token_ids=True, **{**fixed, **settings}).choices[0].ids == ids
        assert answer.seed == {**fixed, **settings}["seed"]
        seen.append(tuple(ids))
    assert not [SETTINGS[i] for i, ids in enumerate(seen) if ids in seen[:i]], "each setting changes the answer"


@covers(f"{REQUEST}.echo", f"{REQUEST}.logprobs")
def test_the_log_probabilities_of_a_prompt_are_those_of_its_continuations(text: TextDoor) -> None:
    prompt = [*TOKENIZER.encode_text("The cat sat on the mat, caf\u00e9"), TOKENIZER.id_of("<|im_end|>"), ID_OF[b"x"]]
    asked = {"temperature": 0, "logprobs": 3, "echo": True}
    answer = text.ask(prompt=prompt, max_tokens=0, **asked)
    assert [entry.logprob is None for entry in answer.entries] == [True] + [False] * (len(prompt) - 1)
    for end in range(1, len(prompt), 5):
        forced = {"logit_bias": {str(prompt[end]): 100}, "max_tokens": 1, "logprobs": 3}
        (entry,) = text.ask(prompt=prompt[:end], **forced).entries
        echoed = answer.entries[end]
        assert echoed.token == entry.token and echoed.logprob == pytest.approx(entry.logprob, abs=1e-3)
        assert echoed.top == pytest.approx(entry.top, abs=1e-3)
    for entry in answer.entries:
        assert "\\x" in entry.token or answer.text.startswith(entry.token, entry.offset)
    again = text.ask(prompt=[prompt, prompt[:9]], max_tokens=1, seed=3, **asked)
    assert again.entries[: len(prompt)] == answer.entries, "neither neighbours nor completions change them"
    assert len(again.entries) == len(prompt) + 1 and len(again.choices[1].entries or []) == 10
    assert again.usage and again.usage["prompt_tokens"] == len(prompt) + 9
    assert text.place.session.compiles_after_ready == 0


def test_a_prompt_whose_completion_was_echoed_has_the_same_completion(text: TextDoor) -> None:
    plain = text.ask(prompt="Hello there", seed=5, max_tokens=8, logprobs=2)
    echoed = text.ask(prompt="Hello there", seed=5, max_tokens=8, logprobs=2, echo=True)
    assert echoed.text == "Hello there" + plain.text
    shifted = [entry._replace(offset=entry.offset + len("Hello there")) for entry in plain.entries]
    assert echoed.entries[-len(shifted) :] == shifted


def test_prompts_without_a_seed_have_successive_seeds(text: TextDoor) -> None:
    answer = text.ask(prompt=["Hello"] * 3, max_tokens=16, ignore_eos=True)
    assert len({said.text for said in answer.choices}) == 3
    for place, said in enumerate(answer.choices):
        seed = (answer.seed + place + 2**63) % 2**64 - 2**63
        assert text.ask(prompt="Hello", max_tokens=16, ignore_eos=True, seed=seed).text == said.text
    same = text.ask(prompt=["Hello"] * 2, seed=1)
    assert same.choices[0].text == same.choices[1].text


@covers(f"{REQUEST}.structured_outputs", f"{REQUEST}.response_format")
def test_grammars_rule_the_text_after_the_prompt(text: TextDoor) -> None:
    assert text.ask(structured_outputs={"choice": ["red", "green"]}).text in ("red", "green")
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    assert json.loads(text.ask(response_format=form, max_tokens=100).text)["a"] in (1, 2)
    refusal = text.refused(structured_outputs={"regex": "a"}, ignore_eos=True)
    assert refusal.param == "ignore_eos"


@covers(f"{REQUEST}.add_special_tokens")
def test_this_tokenizer_adds_nothing_around_a_text(text: TextDoor) -> None:
    plain = text.ask(prompt="Hello", return_token_ids=True, add_special_tokens=False).choices[0].prompt
    assert text.ask(prompt="Hello", return_token_ids=True).choices[0].prompt == plain == TOKENIZER.encode_text("Hello")
