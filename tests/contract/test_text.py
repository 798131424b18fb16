"""Text completions through every front door: prompts, choices, ends, echoes and settings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from jaxchat.errors import ChatError
from jaxchat.openai_json import text_request_from_json
from tests.contract.covering import REFUSALS, covers
from tests.contract.echo import END, SPLIT, START, encode_text
from tests.contract.loading import small_place, wait_until_forgotten
from tests.contract.place import PATIENCE, Place
from tests.contract.text_doors import NAMES, TextDoor

REQUEST, PROMPT, ANSWER, CHOICE = "TextCompletionRequest", "TextPrompt", "TextCompletion", "TextChoice"


def asking(message: str) -> str:
    """Returns a prompt as the echo's template writes it. The echo answers with the message."""
    return f"<|im_start|>user\n{message}<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(params=NAMES)
def text(request: pytest.FixtureRequest, echo_place: Place) -> Iterator[TextDoor]:
    yield TextDoor(request.param, echo_place)
    echo_place.wait_until_idle()


@covers(
    *(f"{REQUEST}.{name}" for name in ("model", "prompt")),
    f"{PROMPT}.text",
    *(f"{ANSWER}.{name}" for name in ("id", "created", "model", "system_fingerprint", "choices", "usage", "seed_used")),
    *(f"{CHOICE}.{name}" for name in ("index", "text", "finish_reason")),
)
def test_control_tokens_in_a_prompt_are_control_tokens(text: TextDoor) -> None:
    answer = text.ask(prompt=["x", asking("Hello")])
    name, created, model, fingerprint = answer.identity
    assert name.startswith("cmpl-") and len(name) >= 29 and abs(created - time.time()) < 60
    assert (model, fingerprint) == ("echo", "fp_0123456789")
    assert [(said.text, said.finish) for said in answer.choices] == [("", "stop"), ("Hello", "stop")]
    prompt = 1 + len([START, *encode_text("user\nHello"), END, *encode_text("\n"), START, *encode_text("assistant\n")])
    completion = 1 + len(encode_text("Hello")) + 1
    assert answer.usage == {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert -(2**63) <= answer.seed < 2**63


@covers(f"{REQUEST}.n", f"{REQUEST}.best_of", f"{REQUEST}.suffix")
def test_the_completions_of_a_prompt_follow_each_other(text: TextDoor) -> None:
    answer = text.ask(prompt=[asking(f"a{SPLIT}b"), asking("c")], n=2, best_of=2, suffix="")
    assert [said.text for said in answer.choices] == ["a", "b", "c", "c"]


@covers(
    *(f"{PROMPT}.token_ids", "TokenIds.ids", f"{REQUEST}.return_token_ids"),
    *(f"{CHOICE}.token_ids", f"{CHOICE}.prompt_token_ids"),
)
def test_token_ids_are_a_prompt_too(text: TextDoor) -> None:
    ids = [START, *encode_text("user\nhi"), END, *encode_text("\n"), START, *encode_text("assistant\n")]
    same = [text.ask(prompt=prompt, return_token_ids=True) for prompt in (ids, [ids], asking("hi"), [asking("hi")])]
    for answer in same:
        (said,) = answer.choices
        assert (said.text, said.prompt, said.ids) == ("hi", ids, [*encode_text("hi"), END])


@covers(f"{REQUEST}.max_tokens")
def test_a_completion_has_sixteen_tokens_by_default(text: TextDoor) -> None:
    (said,) = text.ask(prompt=asking("x" * 20)).choices
    assert (said.text, said.finish) == ("x" * 16, "length")
    assert text.ask(prompt=asking("x" * 20), max_tokens=3).text == "xxx"
    assert text.ask(prompt=asking("x" * 20), max_tokens=40).text == "x" * 20
    nothing = text.ask(prompt="ab", max_tokens=0)
    assert (nothing.text, nothing.choices[0].finish) == ("", "length")
    assert nothing.usage and nothing.usage["completion_tokens"] == 0


def test_an_answer_without_tokens_has_an_empty_list_of_ids(echo_place: Place) -> None:
    body = {"model": "echo", "prompt": "ab", "max_tokens": 0, "return_token_ids": True}
    (choice,) = echo_place.http.post("/v1/completions", json=body).json()["choices"]
    assert (choice["token_ids"], choice["prompt_token_ids"]) == ([], encode_text("ab"))


@covers(f"{REQUEST}.echo")
def test_an_echo_begins_with_the_prompt(text: TextDoor) -> None:
    prompt = asking("caf\u00e9")
    ids = [START, *encode_text("user\ncaf\u00e9"), END, *encode_text("\n"), START, *encode_text("assistant\n")]
    for given in (prompt, ids):
        assert [said.text for said in text.ask(prompt=given, echo=True, n=2).choices] == [f"{prompt}caf\u00e9"] * 2
        assert text.ask(prompt=given, echo=True, max_tokens=0).text == prompt


@covers(f"{REQUEST}.stop", f"{REQUEST}.stop_token_ids", f"{REQUEST}.min_tokens", f"{REQUEST}.ignore_eos")
def test_completions_end_where_they_are_told(text: TextDoor) -> None:
    prompt = asking("one two three")
    assert text.ask(prompt=prompt, stop=" tw").text == "one"
    (token,) = encode_text("w")
    assert text.ask(prompt=prompt, stop_token_ids=[token]).text == "one t"
    assert text.ask(prompt=prompt, stop="o", min_tokens=2).text == "one tw"
    (said,) = text.ask(prompt=asking("ab"), ignore_eos=True, max_tokens=5).choices
    assert (said.text, said.finish) == ("ab", "length")


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("stream")])
@covers(f"{REQUEST}.stream_options")
def test_the_usage_of_a_stream_comes_only_if_it_is_asked_for(echo_place: Place, name: str) -> None:
    text = TextDoor(name, echo_place)
    assert text.ask(stream_options={"include_usage": False}).usage is None
    assert text.ask(stream_options={"include_usage": True}).usage


@covers(f"{REQUEST}.prediction")
def test_predictions_are_counted_in_every_completion(text: TextDoor) -> None:
    prediction = {"type": "content", "content": "abcx"}
    answer = text.ask(prompt=[asking("abc"), asking("b")], prediction=prediction)
    assert answer.usage
    details = answer.usage["completion_tokens_details"]
    assert details == {"accepted_prediction_tokens": 3, "rejected_prediction_tokens": 2 * 4 - 3}


BAD = [
    ("prompt", None, ()),
    ("prompt", [], ()),
    ("prompt", "", ("at least one token",)),
    ("prompt", [[]], ("at least one token",)),
    ("prompt", [5000], ("4999", "5000")),
    ("prompt", [[1], [-1]], ("4999", "-1")),
    ("prompt", ["a", 5], ("texts or lists",)),
    ("prompt", [1, "a"], ("an integer",)),
    ("prompt", 5, ("an array",)),
    ("prompt", ["a"] * 129, ("128", "129")),
    ("suffix", "b", ("only at its end",)),
    ("best_of", 2, ("must equal n, 1", "got 2")),
    ("max_tokens", -1, ("at least 0", "-1")),
    ("logprobs", 21, ("from 0 to 20", "21")),
    ("logprobs", True, ("an integer",)),
    ("n", 129, ("from 1 to 128", "129")),
    ("min_tokens", 17, ("16", "17")),
    ("temperature", 3, ("from 0 to 2", "3")),
    ("echo", 1, ("true or false",)),
    ("messages", [], ()),
    ("stop", [""], ("empty",)),
    ("response_format", {"type": "json_schema"}, ("json_schema",)),
]


for _name, _value, _ in BAD:
    if _name != "messages":
        REFUSALS.setdefault(f"{REQUEST}.{_name}", []).append(str(_value)[:80])


@pytest.mark.parametrize(("name", "value", "says"), BAD)
def test_bad_values_are_refused_by_name(text: TextDoor, name: str, value: object, says: tuple[str, ...]) -> None:
    if not text.can_say(**{name: value}):
        return  # protobuf has no form for a value of the wrong type
    refusal = text.refused(**{name: value})
    assert (refusal.status, refusal.param, refusal.type) == (400, name, "invalid_request_error"), refusal
    assert f"'{name}'" in refusal.message and all(part in refusal.message for part in says), refusal.message


def test_a_prompt_must_fit_the_context_with_its_completion(text: TextDoor) -> None:
    for fields in ({"max_tokens": 10}, {"min_tokens": 10, "max_tokens": 10}, {"prompt": "a" * 4096}):
        refusal = text.refused(**{"prompt": "a" * 4090, **fields})
        assert (refusal.status, refusal.param, refusal.code) == (400, "prompt", "context_length_exceeded")
    (said,) = text.ask(prompt="a" * 4090).choices
    assert said.finish == "stop"
    assert text.ask(prompt="a" * 4096, max_tokens=0, echo=True).text == "a" * 4096


def test_a_description_is_refused_because_the_prompt_stays_as_it_is(text: TextDoor) -> None:
    schema = {"name": "a", "description": "b", "schema": {}}
    refusal = text.refused(response_format={"type": "json_schema", "json_schema": schema})
    assert refusal.param == "response_format.json_schema.description"


def test_stream_options_need_a_stream() -> None:
    with pytest.raises(ChatError, match="stream_options"):
        text_request_from_json({"model": "a", "prompt": "b", "stream_options": {}})


@pytest.mark.parametrize("fields", [{}, {"echo": True, "logprobs": 1}])
@pytest.mark.parametrize("name", ["CompleteText", "StreamText"])
def test_who_leaves_frees_the_slots_of_all_prompts_and_of_their_scores(name: str, fields: dict[str, Any]) -> None:
    with small_place(slots=2, queue=4) as (place, runner):
        runner.gate.clear()
        body = {"model": "echo", "prompt": [asking("x" * 100)] * 3, "max_tokens": 500, **fields}
        request = text_request_from_json(body).request
        call = place.stub.StreamText(request) if name == "StreamText" else place.stub.CompleteText.future(request)
        assert runner.held.wait(PATIENCE)
        place.wait_until(lambda: len(place.session.generations.running) == 3)
        call.cancel()
        wait_until_forgotten(place)
        runner.gate.set()
        place.wait_until_idle()
        assert runner.steps < 50


def test_requests_are_refused_where_the_queue_has_no_room(echo_place: Place) -> None:
    with small_place(slots=1, queue=1) as (place, _):
        for fields in ({}, {"echo": True, "logprobs": 0}):
            refusal = TextDoor("rest", place).refused(prompt=["a", "b", "c"], **fields)
            assert (refusal.status, refusal.code) == (429, "rate_limit_exceeded")
            place.wait_until_idle()
            assert TextDoor("rest", place).ask(prompt=["ab", "c"], **fields).choices[0].finish == "stop"


def test_requests_run_out_of_time_while_prompts_are_scored() -> None:
    with small_place(request_timeout=0.3) as (place, runner):
        runner.gate.clear()
        refusal = TextDoor("rest", place).refused(prompt="abc", echo=True, logprobs=1)
        assert (refusal.status, refusal.code) == (504, "timeout")
        runner.gate.set()
        place.wait_until_idle()


def test_every_token_of_a_long_prompt_is_scored_once(echo_place: Place) -> None:
    prompt = "x" * 300
    answer = TextDoor("rest", echo_place).ask(prompt=prompt, echo=True, logprobs=1, max_tokens=0)
    assert len(answer.entries) == 300 and answer.entries[0].logprob is None
    assert {entry.logprob for entry in answer.entries[1:]} == {-0.5}
    assert [entry.offset for entry in answer.entries] == list(range(300))
