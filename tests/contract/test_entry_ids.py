"""Log-probability entries over REST have token ids if a request asks for ids; those of texts then are those of chat."""

from __future__ import annotations

from typing import Any

import pytest

from jaxchat.openai_json import text_request_from_json
from tests.contract.covering import SEEN, covers, fields_of
from tests.contract.place import Place
from tests.contract.tokens import TOKENIZER

PLAIN = {"token", "logprob", "bytes", "top_logprobs"}


def entries(place: Place, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns all entries in `content` of the answer's log-probabilities."""
    body = {"model": place.model, "seed": 3, "max_tokens": 30, "ignore_eos": True, **body}
    choices = place.choices(path, body)
    return [entry for choice in choices for entry in (choice["logprobs"] or {}).get("content") or []]


def chat(place: Place, **more: Any) -> list[dict[str, Any]]:
    asked = {"messages": [{"role": "user", "content": "Hello"}], "logprobs": True, "top_logprobs": 4}
    return entries(place, "/v1/chat/completions", {**asked, **more})


def text(place: Place, **more: Any) -> list[dict[str, Any]]:
    return entries(place, "/v1/completions", {"prompt": "Hello", "logprobs": 4, **more})


def nameless(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns entries without the names of control tokens, which only texts have."""
    return [
        entry | {"top_logprobs": [top if top["bytes"] else top | {"token": ""} for top in entry["top_logprobs"]]}
        for entry in said
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_ids_are_told_with_the_ids_of_the_answer(tiny_place: Place, stream: bool) -> None:
    plain = chat(tiny_place, stream=stream)
    assert plain and all(set(entry) == PLAIN for entry in plain)
    assert text(tiny_place, stream=stream) == []
    said = [*chat(tiny_place, stream=stream, return_token_ids=True)]
    said += text(tiny_place, stream=stream, return_token_ids=True)
    for entry in said:
        assert set(entry) == PLAIN | {"token_id"}
        for each in (entry, *entry["top_logprobs"]):
            assert bytes(each["bytes"] or []) == TOKENIZER.bytes_of(each["token_id"])
    assert [(entry["token"], entry["logprob"]) for entry in said[: len(plain)]] == [
        (entry["token"], entry["logprob"]) for entry in plain
    ]


@covers("TextTokenLogprob.bytes")
@pytest.mark.parametrize("stream", [False, True])
def test_entries_of_texts_are_those_of_chat(tiny_place: Place, stream: bool) -> None:
    body = {"model": tiny_place.model, "messages": [{"role": "user", "content": "Hello"}]}
    prompt = tiny_place.http.post("/v1/chat/completions/render", json=body).json()["token_ids"]
    expected = chat(tiny_place, return_token_ids=True, exact_logprobs=True)
    said = text(tiny_place, prompt=prompt, return_token_ids=True, stream=stream)
    assert nameless([entry for entry in said if entry["bytes"]]) == nameless(expected)
    echoed = text(tiny_place, prompt=prompt, return_token_ids=True, echo=True, max_tokens=0)
    assert [entry["token_id"] for entry in echoed] == prompt
    assert echoed[0]["logprob"] is None and echoed[0]["top_logprobs"] == []
    assert all(bytes(entry["bytes"] or []) == TOKENIZER.bytes_of(entry["token_id"]) for entry in echoed)
    body = {"model": tiny_place.model, "prompt": prompt, "logprobs": 1, "seed": 3, "ignore_eos": True}
    request = text_request_from_json(body).request
    SEEN.received.update(fields_of(tiny_place.stub.CompleteText(request)))
