"""Builds a chat completion request from JSON or from Python keywords.

Each object of the API is a table from key to the function that puts the key's value into the protobuf message. Keys
that are not in the table are rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from google.protobuf.message import Message

from jaxchat import v1
from jaxchat.errors import ChatError, invalid, safe_repr, unknown_parameter, unsupported
from jaxchat.openai_json import enums, readers
from jaxchat.openai_json.response import message_to_json

Put = Callable[[Any, str, Any, str, bool], None]
"""A function that puts a JSON value into a message: (message, key, value, path, allow_unknown)."""
Table = Mapping[str, Put]

LATER_FIELDS = frozenset(
    {
        "audio",
        "metadata",
        "modalities",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "verbosity",
        "web_search_options",
    }
)
"""Fields added to the API after June 2024. Errors call these fields unsupported instead of unknown."""
LATER_MESSAGE_FIELDS = frozenset({"refusal", "audio", "annotations"})


class ParsedRequest(NamedTuple):
    """A request, whether its answer is streamed, and whether the stream ends with a usage chunk."""

    request: v1.ChatCompletionRequest
    stream: bool
    include_usage: bool


def request_from_json(body: Mapping[str, Any], *, allow_unknown: bool = False) -> ParsedRequest:
    """Reads the request in a parsed JSON body. Checks types, not bounds.

    For known keys, `null` is the same as absent. A key in `LATER_FIELDS` is rejected unless its value is `null`. An
    unknown key is always rejected.

    Args:
        body: the parsed body.
        allow_unknown: whether to ignore unknown keys and those in `LATER_FIELDS`, such as `store`.

    Raises:
        ChatError: a value has the wrong type, or a key is rejected. The status is 400 and `param` is the dotted path of
            the field. Inside `response_format`, `stream_options`, `tool_choice` and `function_call`, `param` is only
            that name, and the message has the path.
    """
    body = dict(readers.mapping(body, "body"))
    stream = body.pop("stream", None)
    stream = stream is not None and readers.boolean(stream, "stream")
    request = v1.ChatCompletionRequest()
    _fill(request, body, "", REQUEST, LATER_FIELDS, allow_unknown)
    if request.HasField("stream_options") and not stream:
        raise invalid("stream_options", "Only allowed when stream is true.")
    return ParsedRequest(request, stream, request.stream_options.include_usage)


def request_from_kwargs(**kwargs: Any) -> ParsedRequest:
    """Reads the request of `create(model=..., messages=[...], ...)`. Values are as in JSON; None means absent.

    Messages may also be protobuf messages: `ChatMessage`, or the `AssistantMessage` of an earlier answer.

    Raises:
        ChatError: for the same reasons as `request_from_json`.
    """
    messages = kwargs.get("messages")
    if isinstance(messages, list | tuple):
        kwargs["messages"] = [message_to_json(m) if isinstance(m, Message) else m for m in messages]
    return request_from_json(kwargs)


def _fill(message: Message, body: Any, path: str, table: Table, later: frozenset[str], allow_unknown: bool) -> None:
    for key, value in readers.mapping(body, path).items():
        field_path = f"{path}.{key}" if path else key
        if key in table:
            if value is not None:
                table[key](message, key, value, field_path, allow_unknown)
        elif not allow_unknown:
            _reject(field_path, key in later, value)


def _reject(path: str, later: bool, value: Any) -> None:
    if not later:
        raise unknown_parameter(path.encode("utf-8", "backslashreplace").decode()[:200])
    if value is not None:
        raise unsupported(path, f"{path} is not supported by this server, got {safe_repr(value)}.")


# Puts


def _plain(reader: readers.Reader[Any]) -> Put:
    """Returns a function that sets the scalar field `key`."""

    def put(message: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        setattr(message, key, reader(value, path))

    return put


def _object(table: Table, later: frozenset[str] = frozenset()) -> Put:
    """Returns a function that fills the message field `key`."""

    def put(message: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        inner = getattr(message, key)
        inner.SetInParent()
        _fill(inner, value, path, table, later, allow_unknown)

    return put


def _objects(table: Table, later: frozenset[str] = frozenset()) -> Put:
    """Returns a function that fills the repeated message field `key`. It rejects an empty array."""

    def put(message: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        for i, item in enumerate(readers.filled_array(value, path)):
            _fill(getattr(message, key).add(), item, f"{path}.{i}", table, later, allow_unknown)

    return put


def _errors_at(param: str, put: Put) -> Put:
    """Returns a function that calls `put` and reports each error at `param`, as the API does for some fields."""

    def outer(message: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        try:
            put(message, key, value, path, allow_unknown)
        except ChatError as error:
            inside = "" if error.param in (None, param) else f"{error.param}: "
            raise invalid(param, inside + error.message, error.code) from None

    return outer


def _put_logit_bias(request: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    for token, bias in readers.mapping(value, path).items():
        if not (token.isascii() and token.isdigit()):
            raise invalid(path, f"Expected token ids as keys, got {safe_repr(token)}.")
        token_id = readers.integer(32)(int(token.lstrip("0")[:20] or "0"), path)
        if token_id in request.logit_bias:
            raise invalid(path, f"Token {token_id} is given twice.")
        request.logit_bias[token_id] = readers.number(bias, path)


def _put_stop(request: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    stops = [value] if isinstance(value, str) else readers.array(value, path)
    request.stop.extend(readers.string(stop, path) for stop in stops)


def _put_list(reader: readers.Reader[Any]) -> Put:
    """Returns a function that fills the repeated scalar field `key`."""

    def put(message: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        getattr(message, key).extend(reader(item, path) for item in readers.array(value, path))

    return put


def _put_schema(rules: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    """Puts a JSON Schema, which is an object or the JSON text of one."""
    setattr(rules, key, readers.string(value, path) if isinstance(value, str) else readers.json_text(value, path))


def _put_tool_choice(request: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    if isinstance(value, str):
        request.tool_choice.mode = readers.word(enums.TOOL_CHOICES)(value, path)
    else:
        _fill(request.tool_choice.named, value, path, NAMED_TOOL, frozenset(), allow_unknown)
        request.tool_choice.named.SetInParent()


def _put_choice_function(named: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    _fill(named, value, path, {"name": _plain(readers.string)}, frozenset(), allow_unknown)


def _put_function_call(request: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    if isinstance(value, str):
        request.function_call.mode = readers.word(enums.FUNCTION_CALLS)(value, path)
    else:
        request.function_call.SetInParent()
        _fill(request.function_call, value, path, {"name": _plain(readers.string)}, frozenset(), allow_unknown)


def _put_content(message: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    if isinstance(value, str):
        message.text = readers.string(value, path)
        return
    message.parts.SetInParent()
    for i, part in enumerate(readers.filled_array(value, path)):
        _put_part(message.parts.parts.add(), part, f"{path}.{i}", allow_unknown)


def _put_part(part: v1.ContentPart, value: Any, path: str, allow_unknown: bool) -> None:
    kind = readers.mapping(value, path).get("type")
    if isinstance(kind, str) and kind not in enums.PART_TYPES:
        raise invalid(f"{path}.type", f"This model takes text only, got a part of type {safe_repr(kind)}.")
    _fill(part, value, path, PART, frozenset(), allow_unknown)


# Tables, innermost first

_text = _plain(readers.string)
_flag = _plain(readers.boolean)
_number = _plain(readers.number)
_int32 = _plain(readers.integer(32))
_tool_type = _plain(readers.word(enums.TOOL_TYPES))

PART: Table = {"type": _plain(readers.word(enums.PART_TYPES)), "text": _text}
CALLED_FUNCTION: Table = {"name": _text, "arguments": _text}
TOOL_CALL: Table = {"id": _text, "type": _tool_type, "function": _object(CALLED_FUNCTION)}
MESSAGE: Table = {
    "role": _plain(readers.word(enums.ROLES)),
    "content": _put_content,
    "name": _text,
    "tool_calls": _objects(TOOL_CALL),
    "function_call": _object(CALLED_FUNCTION),
    "tool_call_id": _text,
}
FUNCTION: Table = {
    "name": _text,
    "description": _text,
    "parameters": _plain(readers.json_text),
    "strict": _flag,
}
TOOL: Table = {"type": _tool_type, "function": _object(FUNCTION)}
NAMED_TOOL: Table = {"type": _tool_type, "function": _put_choice_function}
JSON_SCHEMA: Table = {
    "name": _text,
    "description": _text,
    "schema": _plain(readers.json_text),
    "strict": _flag,
}
RESPONSE_FORMAT: Table = {
    "type": _plain(readers.word(enums.RESPONSE_FORMATS)),
    "json_schema": _object(JSON_SCHEMA),
}
STRUCTURED_OUTPUTS: Table = {
    "regex": _text,
    "choice": _put_list(readers.string),
    "grammar": _text,
    "json": _put_schema,
}
REQUEST: Table = {
    "model": _text,
    "messages": _objects(MESSAGE, LATER_MESSAGE_FIELDS),
    "frequency_penalty": _number,
    "presence_penalty": _number,
    "logit_bias": _put_logit_bias,
    "logprobs": _flag,
    "top_logprobs": _int32,
    "max_tokens": _int32,
    "max_completion_tokens": _int32,
    "n": _int32,
    "response_format": _errors_at("response_format", _object(RESPONSE_FORMAT)),
    "seed": _plain(readers.integer(64)),
    "stop": _put_stop,
    "stream_options": _errors_at("stream_options", _object({"include_usage": _flag})),
    "temperature": _number,
    "top_p": _number,
    "tools": _objects(TOOL),
    "tool_choice": _errors_at("tool_choice", _put_tool_choice),
    "parallel_tool_calls": _flag,
    "user": _text,
    "functions": _objects(FUNCTION),
    "function_call": _errors_at("function_call", _put_function_call),
    "exact_logprobs": _flag,
    "chat_template_kwargs": _plain(readers.json_text),
    "reasoning_effort": _plain(readers.word(enums.REASONING_EFFORTS)),
    "top_k": _int32,
    "min_p": _number,
    "repetition_penalty": _number,
    "min_tokens": _int32,
    "ignore_eos": _flag,
    "stop_token_ids": _put_list(readers.integer(32)),
    "return_token_ids": _flag,
    "structured_outputs": _object(STRUCTURED_OUTPUTS),
}
