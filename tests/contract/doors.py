"""The front doors, plain and streamed.

- `openai`: the openai package over REST.
- `client`: the typed client over gRPC.
- `stub`: a bare gRPC stub.
- `local`: the typed client in process.
- `async`: the asyncio form of the typed client in process.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import openai
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from openai.resources.chat.completions import Completions

from jaxchat.client import AsyncStream
from jaxchat.errors import ChatError
from jaxchat.openai_json import request_from_json, request_from_kwargs
from tests.contract.answers import Answer, field_of, read_chunks, read_completion
from tests.contract.covering import SEEN, fields_of

if TYPE_CHECKING:
    from tests.contract.place import Place

REMOTE = ("openai", "openai stream", "client", "client stream", "stub", "stub stream")
IN_PROCESS = ("local", "local stream", "async", "async stream")
NAMES = REMOTE + IN_PROCESS
_PARAMETERS = set(inspect.signature(Completions.create).parameters) - {"self"}
_STATUS = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}
_STATUS |= {401: "UNAUTHENTICATED", 504: "DEADLINE_EXCEEDED"}


@dataclass
class Refusal:
    """An error as the client sees it. `retry_after` is in seconds."""

    status: int
    type: str
    code: str | None
    param: str | None
    message: str
    retry_after: float | None = None


class Door:
    """A way to send requests. Their fields are those of the REST body."""

    def __init__(self, name: str, place: Place) -> None:
        self.kind, _, stream = name.partition(" ")
        self.stream = bool(stream)
        self._place, self._rest, self._stub, self._model = place, place.openai, place.stub, place.model

    def ask(self, **fields: Any) -> Answer:
        """Returns the answer to a valid request. Asks streams for their usage too, unless `fields` has
        `stream_options`.
        """
        fields = self._with_defaults(fields)
        SEEN.sent.update(fields_of(request_from_kwargs(**fields).request))
        if self.kind == "openai":
            return self._ask_openai(fields)
        return _read_answer(self._call_stub(fields) if self.kind == "stub" else self._call_client(fields), self.stream)

    def refused(self, **fields: Any) -> Refusal:
        """Returns the error with which the request ends. A stream may have begun before."""
        fields = self._with_defaults(fields)
        if self.kind == "openai":
            return self._refused_openai(fields)
        return self._refused_stub(fields) if self.kind == "stub" else self._refused_client(fields)

    def can_say(self, **fields: Any) -> bool:
        """Returns whether this door can express the request. Protobuf cannot express values of the wrong type."""
        try:
            request_from_json(self._with_defaults(fields))
            return True
        except ChatError:
            return self.kind != "stub"

    def _with_defaults(self, fields: dict[str, Any]) -> dict[str, Any]:
        defaults: dict[str, Any] = {"model": self._model, "messages": [{"role": "user", "content": "Hello"}]}
        if self.stream:
            defaults |= {"stream": True, "stream_options": {"include_usage": True}}
        return defaults | fields

    def _ask_openai(self, fields: dict[str, Any]) -> Answer:
        raw = self._rest.chat.completions.with_raw_response.create(**_openai_arguments(fields))
        seed = raw.headers.get("x-jaxchat-seed")
        read = read_chunks if self.stream else read_completion
        return read(raw.parse(), int(seed) if seed is not None else None)

    def _call_client(self, fields: dict[str, Any]) -> Any:
        """Returns the answer of a typed client. Runs the asynchronous one on the session's loop, to the end of a
        stream.
        """
        if self.kind == "async":
            return self._place.in_process.transport.run(self._call_async_client(fields))
        client = self._place.client if self.kind == "client" else self._place.in_process
        return client.chat.completions.create(**fields)

    async def _call_async_client(self, fields: dict[str, Any]) -> Any:
        answer = await self._place.asynchronous.chat.completions.create(**fields)
        return iter([chunk async for chunk in answer]) if isinstance(answer, AsyncStream) else answer

    def _call_stub(self, fields: dict[str, Any]) -> Any:
        request = request_from_kwargs(**fields).request
        return self._stub.Stream(request) if self.stream else self._stub.Complete(request)

    def _refused_openai(self, fields: dict[str, Any]) -> Refusal:
        try:
            _drain(self._rest.chat.completions.create(**_openai_arguments(fields)))
        except openai.APIStatusError as error:
            body = error.response.json()["error"]
            assert set(body) == {"message", "type", "param", "code"}
            assert (error.type, error.code, error.param) == (body["type"], body["code"], body["param"])
            wait = error.response.headers.get("retry-after-ms")
            return Refusal(error.status_code, **body, retry_after=float(wait) / 1000 if wait else None)
        except openai.APIError as error:  # an event in a stream that had begun
            assert isinstance(error.body, dict)
            status = {"timeout": 504, "internal_error": 500, "numerical_error": 500}.get(error.code or "", 503)
            return Refusal(status, **error.body)
        raise AssertionError("not refused")

    def _refused_client(self, fields: dict[str, Any]) -> Refusal:
        try:
            _drain(self._call_client(fields))
        except ChatError as error:
            return Refusal(error.http_status, error.type, error.code, error.param, error.message, error.retry_after)
        raise AssertionError("not refused")

    def _refused_stub(self, fields: dict[str, Any]) -> Refusal:
        try:
            _drain(self._call_stub(fields))
        except grpc.RpcError as error:
            return refusal_of(error)
        raise AssertionError("not refused")


def refusal_of(error: Any) -> Refusal:
    """Returns the refusal in a gRPC error. Asserts that it has the details that every error of the service has."""
    status = rpc_status.from_call(error)
    assert status is not None and status.message == error.details()
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry, request = error_details_pb2.RetryInfo(), error_details_pb2.RequestInfo()
    found = [part for part in (info, bad, retry, request) for detail in status.details if detail.Unpack(part)]
    assert info.domain == "jaxchat" and request.request_id == dict(error.initial_metadata())["x-request-id"]
    http = int(info.metadata["http_status"])
    assert error.code().name == _STATUS[http]
    param = info.metadata.get("param")
    if http == 400 and param is not None:
        assert [(v.field, v.description) for v in bad.field_violations] == [(param, status.message)]
    wait = retry.retry_delay.ToMilliseconds() / 1000 if retry in found else None
    code = None if info.reason == "invalid_request" else info.reason
    return Refusal(http, info.metadata["type"], code, param, status.message, wait)


def _read_answer(answer: Any, stream: bool) -> Answer:
    """Reads an answer of a typed client or a stub."""
    parts = list(answer) if stream else [answer]
    for part in parts:
        SEEN.received.update(fields_of(part if isinstance(part, Message) else part.proto))
    seed = field_of(parts[0], "seed_used")
    return read_chunks(parts, seed) if stream else read_completion(answer, seed)


def _openai_arguments(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `create`. Puts fields without a parameter, and nulls, which it would omit, into
    `extra_body`.
    """
    extra = {key: value for key, value in fields.items() if key not in _PARAMETERS or value is None}
    known = {key: value for key, value in fields.items() if key not in extra}
    return {"model": "", "messages": [], **known, "extra_body": extra}


def _drain(answer: Any) -> None:
    if not isinstance(answer, Message) and isinstance(answer, Iterator | openai.Stream):
        for _ in answer:
            pass
