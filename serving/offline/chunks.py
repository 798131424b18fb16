"""Joins the chunks of a streamed answer into the whole answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]
_TEXTS = ("reasoning_content", "content", "refusal")


def read_events(text: str) -> list[Json]:
    """Returns the chunks in `text`, which has server-sent events, as `curl` prints them.

    Raises:
        ValueError: a chunk is not JSON, or the stream ended with an error or before `[DONE]`.
    """
    chunks: list[Json] = []
    for line in text.split("\n"):
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:"):
            continue
        if data == "[DONE]":
            return chunks
        chunks.append(json.loads(data))
        if "error" in chunks[-1]:
            raise ValueError("the stream ended with an error")
    raise ValueError("the stream ended before [DONE]")


def join_chunks(chunks: Iterable[Mapping[str, Any]]) -> Json:
    """Returns the whole answer that `chunks` make up: a chat completion or a text completion.

    Raises:
        AttributeError, LookupError, TypeError, ValueError: a chunk has another form.
    """
    answer: Json = {}
    choices: dict[int, Json] = {}
    for chunk in chunks:
        for key in chunk.keys() - {"choices", "object"}:
            if chunk[key] is not None:
                answer[key] = chunk[key]
        for part in chunk.get("choices") or ():
            _add(choices.setdefault(part["index"], {"index": part["index"]}), part)
    return answer | {"choices": [choices[index] for index in sorted(choices)]}


def _add(choice: Json, part: Mapping[str, Any]) -> None:
    if part.get("delta") is not None:
        _add_delta(choice.setdefault("message", {}), part["delta"])
    if part.get("text") is not None:
        choice["text"] = choice.get("text", "") + part["text"]
    if part.get("finish_reason") is not None:
        choice["finish_reason"] = part["finish_reason"]
    if part.get("token_ids"):
        choice.setdefault("token_ids", []).extend(part["token_ids"])
    for key, entries in (part.get("logprobs") or {}).items():
        if entries is not None:
            choice.setdefault("logprobs", {}).setdefault(key, []).extend(entries)


def _add_delta(message: Json, delta: Mapping[str, Any]) -> None:
    for key in _TEXTS:
        if delta.get(key) is not None:
            message[key] = message.get(key, "") + delta[key]
    if delta.get("function_call"):
        _add_call(message.setdefault("function_call", {}), delta["function_call"])
    for fragment in delta.get("tool_calls") or ():
        calls = message.setdefault("tool_calls", [])
        while len(calls) <= fragment["index"]:
            calls.append({"function": {}})
        _add_call(calls[fragment["index"]]["function"], fragment.get("function") or {})


def _add_call(call: Json, fragment: Mapping[str, Any]) -> None:
    for key in ("name", "arguments"):
        if fragment.get(key) is not None:
            call[key] = call.get(key, "") + fragment[key]
