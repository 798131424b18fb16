"""Reads the settings of a Responses request that chat requests lack or write in another form."""

from __future__ import annotations

from typing import Any

from jaxchat import v1
from jaxchat.errors import invalid, missing, safe_repr, unsupported
from jaxchat.openai_json import enums, puts, readers
from jaxchat.openai_json.puts import Table

LOGPROBS, ENCRYPTED = "message.output_text.logprobs", "reasoning.encrypted_content"
INCLUDED = (LOGPROBS, ENCRYPTED)
MAX_PAIRS, MAX_KEY, MAX_VALUE = 16, 64, 512  # of the metadata; lengths in characters


def read_include(value: Any, path: str, allow_unknown: bool) -> frozenset[str]:
    """Returns the names of the additional output that a request asks for.

    Raises:
        ChatError: 400 if the value has the wrong type. 400 also on the name of output that this server does not have,
            unless unknown keys are allowed.
    """
    names = set()
    for index, item in enumerate(readers.array(value, path)):
        name = readers.string(item, f"{path}.{index}")
        if name in INCLUDED:
            names.add(name)
        elif not allow_unknown:
            served = " and ".join(map(repr, INCLUDED))
            raise unsupported(f"{path}.{index}", f"this server supports only {served}, got {safe_repr(name)}.")
    return frozenset(names)


def check_metadata(draft: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    """Checks metadata, which the response repeats.

    Raises:
        ChatError: 400 for a wrong type, for too many pairs, or for a key or a value that is too long.
    """
    pairs = readers.mapping(value, path)
    if len(pairs) > MAX_PAIRS:
        raise invalid(path, f"at most {MAX_PAIRS} pairs are allowed, got {len(pairs)}.")
    for name, text in pairs.items():
        if len(readers.string(name, path)) > MAX_KEY:
            raise invalid(path, f"a key has at most {MAX_KEY} characters, got {len(name)}: {safe_repr(name)}.")
        if len(readers.string(text, f"{path}.{name}")) > MAX_VALUE:
            raise invalid(f"{path}.{name}", f"at most {MAX_VALUE} characters are allowed, got {len(text)}.")


def check_max_tool_calls(draft: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    """Checks the limit for calls of hosted tools. This server has no hosted tools, so the limit is always kept.

    Raises:
        ChatError: 400 if the limit is not an integer of at least 1.
    """
    if readers.integer(32, least=1)(value, path) < 1:
        raise invalid(path, f"must be at least 1, got {safe_repr(value)}.")


def check_stream_options(draft: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    """Checks the options of a stream. No option changes the stream. Raises `ChatError` 400 for an invalid option."""
    puts.fill(v1.StreamOptions(), value, path, STREAM_OPTIONS, frozenset(), allow_unknown)


def put_text(request: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    """Puts the format of the text into the chat request. Raises `ChatError` 400 if a value is invalid."""
    puts.fill(request, value, path, TEXT, frozenset(), allow_unknown)


def put_reasoning(request: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    """Puts the reasoning effort into the chat request. Raises `ChatError` 400 if a value is invalid.

    `summary` may be `auto`, but no summary is written, because the response has the thoughts themselves.
    """
    puts.fill(request, value, path, REASONING, frozenset(), allow_unknown)


def _put_effort(request: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    request.reasoning_effort = readers.word(enums.REASONING_EFFORTS)(value, path)


def _put_format(request: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    kind = readers.mapping(value, path).get("type")
    if kind is None:
        raise missing(f"{path}.type", "A format must have a type.")
    response_format = request.response_format
    response_format.type = readers.word(enums.RESPONSE_FORMATS)(kind, f"{path}.type")
    if response_format.type != v1.RESPONSE_FORMAT_TYPE_JSON_SCHEMA:
        puts.fill(response_format, value, path, FORMAT, frozenset(), allow_unknown)
        return
    puts.fill(response_format.json_schema, value, path, JSON_SCHEMA, frozenset(), allow_unknown)
    for field in ("name", "schema"):
        if not response_format.json_schema.HasField(field):
            raise missing(f"{path}.{field}", "A format of type 'json_schema' must have it.")


_type = puts.echo(readers.anything)
FORMAT: Table = {"type": _type}
JSON_SCHEMA: Table = {
    "type": _type,
    "name": puts.plain(readers.string),
    "description": puts.plain(readers.string),
    "schema": puts.plain(readers.json_text),
    "strict": puts.plain(readers.boolean),
}
TEXT: Table = {"format": _put_format, "verbosity": puts.only("medium")}
REASONING: Table = {
    "effort": _put_effort,
    "summary": puts.only("auto"),
    "generate_summary": puts.only("auto"),
    "context": puts.only("auto"),
    "mode": puts.only("standard"),
}
STREAM_OPTIONS: Table = {"include_obfuscation": puts.only(False)}
