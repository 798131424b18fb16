"""Requests whose answers have every kind of content, and all that two equal answers share."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

Said = list[dict[str, Any]]

_FUNCTION = {
    "name": "look_up",
    "parameters": {
        "type": "object",
        "properties": {"word": {"type": "string"}, "count": {"type": "integer"}},
        "required": ["word", "count"],
    },
}
_ASKED: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "temperature": 1}
KINDS: list[dict[str, Any]] = [
    {"seed": 1, "max_tokens": 300, "ignore_eos": True, "logprobs": True, "top_logprobs": 3, "return_token_ids": True},
    {"seed": 2, "max_tokens": 200, "ignore_eos": True, "n": 3, "frequency_penalty": 0.5},
    {
        "seed": 3,
        "max_tokens": 200,
        "n": 2,
        "tools": [{"type": "function", "function": _FUNCTION}],
        "tool_choice": "required",
    },
    {"seed": 4, "max_tokens": 200, "response_format": {"type": "json_object"}, "logprobs": True},
]
KINDS = [_ASKED | kind for kind in KINDS]
KINDS[3] |= {"messages": [{"role": "user", "content": "Some JSON"}]}


def read_completion(answer: Any) -> Said:
    """All of an answer but its id and time. Takes answers of openai and of jaxchat."""
    return [
        {
            "content": choice.message.content or "",
            "calls": [
                [call.id, call.function.name, call.function.arguments] for call in choice.message.tool_calls or []
            ],
            "finish": choice.finish_reason,
            "logprobs": _entries(choice),
            "ids": list(getattr(choice, "token_ids", None) or []),
            "fingerprint": answer.system_fingerprint,
        }
        for choice in answer.choices
    ]


def read_chunks(chunks: Iterable[Any], seen: Callable[[], None] = lambda: None) -> Said:
    """The same of a stream. Calls `seen` for each chunk."""
    said: dict[int, dict[str, Any]] = {}
    identities = set()
    for chunk in chunks:
        seen()
        identities.add((chunk.id, chunk.created))
        for choice in chunk.choices:
            mine = said.setdefault(
                choice.index, {"content": "", "calls": [], "finish": None, "logprobs": [], "ids": []}
            )
            mine["fingerprint"] = chunk.system_fingerprint
            mine["content"] += choice.delta.content or ""
            mine["logprobs"] += _entries(choice)
            mine["ids"] += list(getattr(choice, "token_ids", None) or [])
            for call in choice.delta.tool_calls or []:
                if call.function.name:
                    mine["calls"].append([call.id, call.function.name, ""])
                mine["calls"][-1][2] += call.function.arguments or ""
            mine["finish"] = choice.finish_reason or mine["finish"]
    assert len(identities) == 1
    return [said[index] for index in sorted(said)]


def _entries(choice: Any) -> list[Any]:
    entries = choice.logprobs.content if choice.logprobs else None
    return [
        (entry.token, _bits(entry.logprob), [(top.token, _bits(top.logprob)) for top in entry.top_logprobs or []])
        for entry in entries or []
    ]


def _bits(logprob: float) -> bytes:
    return struct.pack("f", logprob)
