"""The front doors of text completions: REST and a gRPC stub, plain and streamed. Answers of all have one form."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import grpc
import httpx
from google.protobuf.message import Message

from jaxchat import v1
from jaxchat.errors import ChatError
from jaxchat.openai_json import text_completion_to_json, text_part_to_json, text_request_from_json
from tests.contract.covering import SEEN, fields_of
from tests.contract.doors import Refusal, refusal_of
from tests.contract.place import Place

NAMES = ("rest", "rest stream", "stub", "stub stream")


class Entry(NamedTuple):
    token: str
    logprob: float | None
    top: dict[str, float] | None
    offset: int


@dataclass
class Said:
    """One choice."""

    text: str = ""
    finish: str | None = None
    entries: list[Entry] | None = None
    ids: list[int] = field(default_factory=list)
    prompt: list[int] = field(default_factory=list)


@dataclass
class TextAnswer:
    """A whole answer. All parts of a stream have the same identity."""

    identity: tuple[str, int, str, str]  # id, created, model, system_fingerprint
    choices: list[Said]
    usage: dict[str, Any] | None
    seed: int

    @property
    def text(self) -> str:
        return self.choices[0].text

    @property
    def entries(self) -> list[Entry]:
        return self.choices[0].entries or []


class TextDoor:
    """A way to send text completions. Their fields are those of the REST body."""

    def __init__(self, name: str, place: Place) -> None:
        self.kind, _, stream = name.partition(" ")
        self.stream = bool(stream)
        self.place = place

    def ask(self, **fields: Any) -> TextAnswer:
        """Returns the answer to a valid request."""
        body = self._body(fields)
        request = text_request_from_json(body).request
        SEEN.sent.update(fields_of(request))
        if self.kind == "rest":
            reply = self.place.http.post("/v1/completions", json=body)
            assert reply.status_code == 200, reply.text
            return _joined(_events(reply) if self.stream else [reply.json()], int(reply.headers["x-jaxchat-seed"]))
        answers = self._call(request)
        for answer in answers:
            SEEN.received.update(fields_of(answer))
        to_json = (lambda part: text_part_to_json(part, True)) if self.stream else text_completion_to_json
        (seed,) = {answer.seed_used for answer in answers}
        return _joined([to_json(answer) for answer in answers], seed)

    def refused(self, **fields: Any) -> Refusal:
        """Returns the error of a rejected request."""
        body = self._body(fields)
        if self.kind == "rest":
            reply = self.place.http.post("/v1/completions", json=body)
            error = reply.json()["error"]
            return Refusal(reply.status_code, error["type"], error["code"], error["param"], error["message"])
        try:
            self._call(text_request_from_json(body).request)
        except grpc.RpcError as error:
            return refusal_of(error)
        raise AssertionError("not refused")

    def can_say(self, **fields: Any) -> bool:
        """Returns whether this door can express the request."""
        try:
            text_request_from_json(self._body(fields))
            return True
        except ChatError:
            return self.kind == "rest"

    def _body(self, fields: dict[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.place.model, "prompt": "Hello"}
        if self.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body | fields

    def _call(self, request: v1.TextCompletionRequest) -> list[Message]:
        stub = self.place.stub
        return list(stub.StreamText(request)) if self.stream else [stub.CompleteText(request)]


def _events(reply: httpx.Response) -> list[dict[str, Any]]:
    *events, done, rest = reply.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events if not event.startswith(":")]


def _joined(parts: list[dict[str, Any]], seed: int) -> TextAnswer:
    assert {part["object"] for part in parts} == {"text_completion"}
    keys = ("id", "created", "model", "system_fingerprint")
    (identity,) = {tuple(part[key] for key in keys) for part in parts}
    choices: dict[int, Said] = {}
    for part in parts:
        for choice in part["choices"]:
            _append(choices.setdefault(choice["index"], Said()), choice)
    usage = [part["usage"] for part in parts if part.get("usage")]
    assert len(usage) <= 1 and (not usage or parts[-1]["usage"])
    assert sorted(choices) == list(range(len(choices))) and all(said.finish for said in choices.values())
    return TextAnswer(identity, [choices[index] for index in sorted(choices)], usage[0] if usage else None, seed)


def _append(said: Said, choice: dict[str, Any]) -> None:
    assert said.finish is None, "nothing comes after the end of a choice"
    said.text += choice["text"]
    said.ids += choice.get("token_ids", [])
    said.prompt += choice.get("prompt_token_ids", [])
    said.finish = choice["finish_reason"]
    if (logprobs := choice["logprobs"]) is not None:
        columns = (logprobs[key] for key in ("tokens", "token_logprobs", "top_logprobs", "text_offset"))
        said.entries = (said.entries or []) + [Entry(*row) for row in zip(*columns, strict=True)]
