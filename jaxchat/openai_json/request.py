"""Builds a chat completion request from JSON or from Python keywords.

Each object of the API is a table from key to the function that puts the key's value into the protobuf message. Keys
that are not in the table are rejected, unless their value is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from google.protobuf.message import Message

from jaxchat import v1
from jaxchat.errors import MAX_BIAS, bias_out_of_range, invalid, safe_repr
from jaxchat.openai_json import enums, puts, readers
from jaxchat.openai_json.puts import Table
from jaxchat.openai_json.response import message_to_json

LATER_FIELDS = frozenset(
    {
        "audio",
        "moderation",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "verbosity",
        "web_search_options",
    }
)
"""Fields added to the API after June 2024. They are rejected as unsupported, not as unknown."""
LATER_MESSAGE_FIELDS = frozenset({"audio"})


class ParsedRequest(NamedTuple):
    """A request, whether its answer is streamed, and whether the stream ends with a usage chunk."""

    request: v1.ChatCompletionRequest
    stream: bool
    include_usage: bool


def request_from_json(body: Mapping[str, Any], *, allow_unknown: bool = False) -> ParsedRequest:
    """Reads the request in a parsed JSON body.

    Checks types, and bounds that cannot be checked in the protobuf message. `jaxchat.chat.request.validate` checks all
    other bounds.

    A key with the value `null` is treated as absent. Inside `logit_bias`, `null` is an error. For a field that takes an
    array, an empty array is treated as absent too. JSON Schemas and `chat_template_kwargs` are not changed.

    Args:
        body: the parsed body.
        allow_unknown: whether to ignore unknown keys and later fields of the API, such as `verbosity`.

    Raises:
        ChatError: a value has the wrong type or is not accepted, a key is rejected, or `stream_options` is given
            without `stream`. The status is 400, and `param` is the dotted path of the field. For errors inside
            `response_format`, `stream_options`, `tool_choice` and `function_call`, `param` is only the name of that
            object, and the message contains the path.
    """
    body = dict(readers.mapping(body, "body"))
    stream = body.pop("stream", None)
    stream = stream is not None and readers.boolean(stream, "stream")
    request = v1.ChatCompletionRequest()
    puts.fill(request, body, "", REQUEST, LATER_FIELDS, allow_unknown)
    if request.HasField("stream_options") and not stream:
        raise invalid("stream_options", "only allowed when stream is true.")
    return ParsedRequest(request, stream, request.stream_options.include_usage)


def request_from_kwargs(**kwargs: Any) -> ParsedRequest:
    """Reads the arguments of `create(model=..., messages=[...], ...)`. Values are as in JSON; None means absent.

    Messages may also be protobuf messages: `ChatMessage`, or the `AssistantMessage` of an earlier answer.

    Raises:
        ChatError: for the same reasons as `request_from_json`.
    """
    messages = kwargs.get("messages")
    if isinstance(messages, list | tuple):
        kwargs["messages"] = [message_to_json(m) if isinstance(m, Message) else m for m in messages]
    return request_from_json(kwargs)


# Puts


def _put_logit_bias(request: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    for token, bias in readers.mapping(value, path).items():
        if not (token.isascii() and token.isdigit()):
            raise invalid(path, f"expected token ids as keys, got {safe_repr(token)}.")
        token_id = readers.integer(32, least=0)(int(token.lstrip("0")[:20] or "0"), path)
        if token_id in request.logit_bias:
            raise invalid(path, f"token {token_id} is given twice.")
        if abs(readers.number(bias, path)) > MAX_BIAS:  # checked here, because the 32-bit field rounds the value
            raise bias_out_of_range(token_id, bias)
        request.logit_bias[token_id] = bias


def _put_stop(request: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    stops = [value] if isinstance(value, str) else readers.array(value, path)
    request.stop.extend(readers.string(stop, path) for stop in stops)


def _put_list(reader: readers.Reader[Any]) -> puts.Put:
    """Returns a `Put` for a field that is a list of scalars. `reader` reads each item of the list."""

    def put(message: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        getattr(message, key).extend(reader(item, path) for item in readers.array(value, path))

    return put


def _put_schema(rules: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    """Puts a JSON Schema into the field `key` of `rules`. `value` is the schema, or its JSON text."""
    setattr(rules, key, readers.string(value, path) if isinstance(value, str) else readers.json_text(value, path))


def _put_tool_choice(request: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    if isinstance(value, str):
        request.tool_choice.mode = readers.word(enums.TOOL_CHOICES)(value, path)
    else:
        puts.fill(request.tool_choice.named, value, path, NAMED_TOOL, frozenset(), allow_unknown)
        request.tool_choice.named.SetInParent()


def _put_choice_function(named: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    puts.fill(named, value, path, {"name": puts.plain(readers.string)}, frozenset(), allow_unknown)


def _put_function_call(request: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    if isinstance(value, str):
        request.function_call.mode = readers.word(enums.FUNCTION_CALLS)(value, path)
    else:
        request.function_call.SetInParent()
        puts.fill(request.function_call, value, path, {"name": puts.plain(readers.string)}, frozenset(), allow_unknown)


def _put_content(message: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    if isinstance(value, str):
        message.text = readers.string(value, path)
        return
    for i, part in enumerate(readers.array(value, path)):
        _put_part(message.parts.parts.add(), part, f"{path}.{i}", allow_unknown)


def _put_part(part: v1.ContentPart, value: Any, path: str, allow_unknown: bool) -> None:
    kind = readers.mapping(value, path).get("type")
    if isinstance(kind, str) and kind not in enums.PART_TYPES:
        raise invalid(f"{path}.type", f"this model takes text only, got a part of type {safe_repr(kind)}.")
    puts.fill(part, value, path, PART, frozenset(), allow_unknown)


# Tables, innermost first

_text = puts.plain(readers.string)
_flag = puts.plain(readers.boolean)
_number = puts.plain(readers.number)
_int32 = puts.plain(readers.integer(32))
_count = puts.plain(readers.integer(32, least=1))
_tool_type = puts.plain(readers.word(enums.TOOL_TYPES))

PART: Table = {"type": puts.plain(readers.word(enums.PART_TYPES)), "text": _text, "refusal": _text}
CALLED_FUNCTION: Table = {"name": _text, "arguments": _text}
TOOL_CALL: Table = {
    "id": _text,
    "type": _tool_type,
    "function": puts.object_of({**CALLED_FUNCTION, "parsed_arguments": puts.echo(readers.anything)}),
    "index": puts.echo(readers.integer(32)),
}
MESSAGE: Table = {
    "role": puts.plain(readers.word(enums.ROLES)),
    "content": _put_content,
    "name": _text,
    "tool_calls": puts.objects_of(TOOL_CALL),
    "function_call": puts.object_of(CALLED_FUNCTION),
    "tool_call_id": _text,
    "refusal": _text,
    "reasoning_content": _text,
    "annotations": puts.echo(readers.array),
    "id": puts.echo(readers.string),
    "parsed": puts.echo(readers.anything),
}
FUNCTION: Table = {
    "name": _text,
    "description": _text,
    "parameters": puts.plain(readers.json_text),
    "strict": _flag,
}
TOOL: Table = {"type": _tool_type, "function": puts.object_of(FUNCTION)}
NAMED_TOOL: Table = {"type": _tool_type, "function": _put_choice_function}
JSON_SCHEMA: Table = {
    "name": _text,
    "description": _text,
    "schema": puts.plain(readers.json_text),
    "strict": _flag,
}
RESPONSE_FORMAT: Table = {
    "type": puts.plain(readers.word(enums.RESPONSE_FORMATS)),
    "json_schema": puts.object_of(JSON_SCHEMA),
}
STREAM_OPTIONS: Table = {"include_usage": _flag, "include_obfuscation": puts.only(False)}
STRUCTURED_OUTPUTS: Table = {
    "regex": _text,
    "choice": _put_list(readers.string),
    "grammar": _text,
    "json": _put_schema,
}
PREDICTION: Table = {"type": puts.plain(readers.word(enums.PREDICTION_TYPES)), "content": _put_content}
REQUEST: Table = {
    "model": _text,
    "messages": puts.objects_of(MESSAGE, LATER_MESSAGE_FIELDS),
    "frequency_penalty": _number,
    "presence_penalty": _number,
    "logit_bias": _put_logit_bias,
    "logprobs": _flag,
    "top_logprobs": _int32,
    "max_tokens": _count,
    "max_completion_tokens": _count,
    "n": _count,
    "response_format": puts.errors_at("response_format", puts.object_of(RESPONSE_FORMAT)),
    "seed": puts.plain(readers.integer(64)),
    "stop": _put_stop,
    "stream_options": puts.errors_at("stream_options", puts.object_of(STREAM_OPTIONS)),
    "temperature": _number,
    "top_p": _number,
    "tools": puts.objects_of(TOOL),
    "tool_choice": puts.errors_at("tool_choice", _put_tool_choice),
    "parallel_tool_calls": _flag,
    "user": _text,
    "functions": puts.objects_of(FUNCTION),
    "function_call": puts.errors_at("function_call", _put_function_call),
    "exact_logprobs": _flag,
    "chat_template_kwargs": puts.plain(readers.json_text),
    "reasoning_effort": puts.plain(readers.word(enums.REASONING_EFFORTS)),
    "metadata": puts.only({}),
    "modalities": puts.only(["text"], []),
    "service_tier": puts.only("auto", "default"),
    "store": puts.only(False),
    "top_k": _int32,
    "min_p": _number,
    "repetition_penalty": _number,
    "min_tokens": _int32,
    "ignore_eos": _flag,
    "stop_token_ids": _put_list(readers.integer(32)),
    "return_token_ids": _flag,
    "structured_outputs": puts.object_of(STRUCTURED_OUTPUTS),
    "prediction": puts.object_of(PREDICTION),
}
