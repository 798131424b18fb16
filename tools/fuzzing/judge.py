"""Checks answers. `rest` and `rpc` return the outcome of a request, or raise an exception for a violation."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import grpc
import httpx
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from jaxchat import v1
from tools.fuzzing import responses

STATUSES = frozenset({400, 404, 413, 415, 429})
CODES = {"INVALID_ARGUMENT": "400", "NOT_FOUND": "404", "RESOURCE_EXHAUSTED": "429"}


class Illegal(Exception):
    """The exception for an answer that violates the API."""


def rest(reply: httpx.Response) -> str:
    """Checks a complete REST answer and returns its outcome, such as `400` or `200 stream`.

    Args:
        reply: the answer, to a request whose path tells the endpoint.

    Raises:
        Illegal: the answer violates the API.
        Exception: the answer cannot be parsed.
    """
    if reply.status_code == 200:
        path = reply.url.path
        if path.endswith("/responses"):
            return responses.outcome(reply)
        return _text(reply) if path.endswith("/v1/completions") else _chat(reply)
    _require(reply.status_code in STATUSES, f"status {reply.status_code}: {reply.text[:300]}")
    _error(reply.json())
    return str(reply.status_code)


def _chat(reply: httpx.Response) -> str:
    if reply.headers["content-type"].startswith("text/event-stream"):
        return _stream(reply.text, ChatCompletionChunk.model_validate_json)
    answer = ChatCompletion.model_validate_json(reply.content, strict=True)
    _require(all(choice.finish_reason for choice in answer.choices), "a choice without an end")
    return "200 plain"


def _text(reply: httpx.Response) -> str:
    if reply.headers["content-type"].startswith("text/event-stream"):
        return _stream(reply.text, _text_completion)
    answer = _text_completion(reply.text)
    _require(all(choice.finish_reason for choice in answer.choices), "a choice without an end")
    return "200 plain"


def _text_completion(text: str, strict: bool = True) -> Completion:
    """Reads a text completion or a part of one.

    The type of the `openai` package allows neither a null log-probability, which the first token of a prompt has, nor a
    null finish reason. The log-probability is removed, and the finish reason is set only after the package has read the
    completion.
    """
    value = json.loads(text)
    ends = [choice["finish_reason"] for choice in value["choices"]]
    for choice in value["choices"]:
        logprobs = choice["logprobs"] or {"token_logprobs": [], "top_logprobs": []}
        for key in ("token_logprobs", "top_logprobs"):
            _require(None not in logprobs[key][1:], f"null in {key}")
            logprobs[key] = [item for item in logprobs[key] if item is not None]
        choice["finish_reason"] = choice["finish_reason"] or "stop"
    answer = Completion.model_validate_json(json.dumps(value), strict=strict)
    for choice, end in zip(answer.choices, ends, strict=True):
        choice.finish_reason = end
    return answer


def _stream(text: str, read: Callable[..., Any]) -> str:
    *events, done, remainder = text.split("\n\n")
    _require((done, remainder) == ("data: [DONE]", ""), f"a stream that ends with {text[-200:]!r}")
    open_choices: set[int] = set()
    for event in events:
        if event.startswith(":"):
            continue
        chunk = read(event.removeprefix("data: "), strict=True)
        for choice in chunk.choices:
            open_choices.add(choice.index)
            if choice.finish_reason:
                open_choices.remove(choice.index)
    _require(not open_choices, f"choices without an end: {open_choices}")
    return "200 stream"


def _error(value: Any) -> None:
    error = value["error"]
    _require(set(error) == {"message", "type", "param", "code"}, f"keys of an error: {value}")
    _require(bool(error["message"]) and len(error["message"]) < 2000, "the length of a message")
    _require(isinstance(error["type"], str), f"the type of an error: {error}")
    json.dumps(value, ensure_ascii=False).encode()


def rpc(data: bytes, call: Any, kind: type[Message] = v1.ChatCompletionRequest) -> str:
    """Makes a gRPC call, checks its answer and returns its outcome, such as `OK` or `NOT_FOUND`.

    Args:
        data: the serialized request.
        call: sends `data` and returns the messages of the answer.
        kind: the message that `data` should be.

    Raises:
        Illegal: the answer violates the API.
    """
    try:
        messages = call(data)
    except grpc.RpcError as error:
        return _status(data, error, kind)
    ends = [choice.finish_reason for message in messages for choice in message.choices]
    _require(any(ends), "an answer without an end")
    return "OK"


def _status(data: bytes, error: Any, kind: type[Message]) -> str:
    name = error.code().name
    _require(_parses(data, kind) or name == "INVALID_ARGUMENT", f"{name} for undecodable bytes")
    _require(name in CODES, f"{name}: {error.details()}")
    status, info = rpc_status.from_call(error), error_details_pb2.ErrorInfo()
    _require(status is not None, f"{name} without details: {error.details()}")
    _require(any(detail.Unpack(info) for detail in status.details), f"{name} without ErrorInfo")
    _require(info.metadata["http_status"] == CODES[name], f"{name} is not {info.metadata['http_status']}")
    return name


def _parses(data: bytes, kind: type[Message]) -> bool:
    try:
        kind.FromString(data)
        return True
    except DecodeError:
        return False


def _require(condition: bool, violation: str) -> None:
    if not condition:
        raise Illegal(violation)
