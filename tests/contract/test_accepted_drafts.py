"""Answers tell which tokens were accepted drafts, if a request asks. The tokens are the same either way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jaxchat import v1
from jaxchat.engine.step_times import StepTimes
from jaxchat.openai_json import request_from_json, text_request_from_json
from tests.contract.covering import SEEN, covers, fields_of
from tests.contract.place import Place

FIXED: dict[str, Any] = {"seed": 4, "max_tokens": 40, "ignore_eos": True, "return_token_ids": True}
Told = tuple[list[int], list[int]]  # ids of the tokens, and indices of accepted drafts


@pytest.fixture(autouse=True)
def drafting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes drafts depend on free rows alone."""
    monkeypatch.setattr(StepTimes, "seconds", lambda self, rows, awaited: 1.0)


def seen(request: Any, *answers: Any) -> list[Any]:
    SEEN.sent.update(fields_of(request))
    for answer in answers:
        SEEN.received.update(fields_of(answer))
    return [choice for answer in answers for choice in answer.choices]


def told(choices: list[Any]) -> Told:
    return [i for choice in choices for i in choice.token_ids], [
        i for choice in choices for i in choice.accepted_drafts
    ]


def over_rest(place: Place, path: str, body: dict[str, Any]) -> Told:
    choices = place.choices(path, body)
    both = ([index for choice in choices for index in choice.get(key, [])] for key in ("token_ids", "accepted_drafts"))
    return next(both), next(both)


def chat(place: Place, **more: Any) -> dict[str, Any]:
    return {"model": place.model, "messages": [{"role": "user", "content": "Hello"}], **FIXED, **more}


def text(place: Place, **more: Any) -> dict[str, Any]:
    return {"model": place.model, "prompt": "Hello", **FIXED, **more}


def doors(place: Place, kind: str) -> dict[str, Callable[[dict[str, Any]], Told]]:
    """Returns ways to ask, by name."""
    if kind == "chat":
        path, read = "/v1/chat/completions", request_from_json
        complete, stream = place.stub.Complete, place.stub.Stream
    else:
        path, read = "/v1/completions", text_request_from_json
        complete, stream = place.stub.CompleteText, place.stub.StreamText
    return {
        "stub": lambda body: told(seen(request := read(body).request, complete(request))),
        "stub stream": lambda body: told(seen(request := read(body).request, *stream(request))),
        "rest": lambda body: over_rest(place, path, body),
        "rest stream": lambda body: over_rest(place, path, body | {"stream": True}),
    }


def check(place: Place, kind: str, plain: dict[str, Any]) -> None:
    """Asserts for every way to ask that accepted drafts are told if the request asks, and that tokens stay the same."""
    answer = place.http.post("/detokenize", json={"tokens": doors(place, kind)["stub"](plain)[0]})
    guess = {"type": "content", "content": answer.json()["prompt"]}
    for name, ask in doors(place, kind).items():
        ids, none = ask(plain)
        assert none == [], name
        before = place.session.stats.accepted_drafts
        again, drafts = ask(plain | {"prediction": guess, "return_accepted_drafts": True})
        place.wait_until_idle()
        assert again == ids, name
        assert drafts == sorted(set(drafts)) and set(drafts) <= set(range(len(ids))), name
        assert len(drafts) == place.session.stats.accepted_drafts - before > 0, name


@covers("ChatCompletionRequest.return_accepted_drafts", "Choice.accepted_drafts", "ChunkChoice.accepted_drafts")
def test_accepted_drafts_of_chat_are_told_on_request(tiny_place: Place) -> None:
    check(tiny_place, "chat", chat(tiny_place))


@covers("TextCompletionRequest.return_accepted_drafts", "TextChoice.accepted_drafts")
def test_accepted_drafts_of_texts_are_told_on_request(tiny_place: Place) -> None:
    check(tiny_place, "text", text(tiny_place))


def test_an_answer_without_accepted_drafts_has_none(tiny_place: Place) -> None:
    session = tiny_place.session
    session.engine.limit_drafts(0)
    try:
        request = request_from_json(chat(tiny_place, return_accepted_drafts=True)).request
        assert not tiny_place.stub.Complete(request).choices[0].accepted_drafts
    finally:
        session.engine.limit_drafts(15)


def test_of_several_choices_each_counts_from_its_beginning(tiny_place: Place) -> None:
    request = request_from_json(chat(tiny_place, n=2, return_accepted_drafts=True)).request
    plain: v1.ChatCompletion = tiny_place.stub.Complete(request)
    request.draft_tokens.extend(v1.DraftTokens(token_ids=choice.token_ids) for choice in plain.choices)
    request.max_tokens = 9
    for choice in tiny_place.stub.Complete(request).choices:
        assert choice.accepted_drafts and max(choice.accepted_drafts) < 9
