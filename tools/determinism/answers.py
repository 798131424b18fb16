"""Converts the answers of all clients to one form, in which answers can be compared bit for bit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

Entry = tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]


@dataclass
class Choice:
    """One choice of an answer.

    Attributes:
        text: the text.
        calls: id, name and arguments of each tool call.
        finish: the finish reason.
        entries: for each token, its bytes, the bits of its log-probability as float32, and bytes and bits of each of
            its top log-probabilities.
        prompt: token ids of the prompt, if the request asks for them.
        tokens: token ids of the choice, if the request asks for them.
        thoughts: the thoughts in front of the text.
    """

    text: str = ""
    calls: tuple[tuple[str, str, str], ...] = ()
    finish: str = ""
    entries: tuple[Entry, ...] = ()
    prompt: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    thoughts: str = ""


Answer = dict[int, Choice]


def from_completion(completion: Any) -> Answer:
    """Returns the choices, by index, of a whole answer of the `openai` package or of the typed client."""
    return {
        choice.index: Choice(
            text=choice.message.content or "",
            calls=tuple((c.id, c.function.name, c.function.arguments) for c in choice.message.tool_calls or ()),
            finish=choice.finish_reason,
            entries=_entries(choice.logprobs.content) if choice.logprobs else (),
            prompt=_ids(completion, "prompt_token_ids"),
            tokens=_ids(choice, "token_ids"),
            thoughts=getattr(choice.message, "reasoning_content", None) or "",
        )
        for choice in completion.choices
    }


def from_chunks(chunks: Iterable[Any]) -> Answer:
    """Returns the choices, by index, of a streamed answer of the `openai` package or of the typed client."""
    answer: Answer = {}
    chunks = list(chunks)
    prompt = next((ids for chunk in chunks if (ids := _ids(chunk, "prompt_token_ids"))), ())
    for part in (part for chunk in chunks for part in chunk.choices):
        choice = answer.setdefault(part.index, Choice(prompt=prompt))
        choice.text += part.delta.content or ""
        choice.thoughts += getattr(part.delta, "reasoning_content", None) or ""
        choice.calls = _joined(choice.calls, part.delta.tool_calls or ())
        choice.finish = part.finish_reason or choice.finish
        choice.entries += _entries(part.logprobs.content) if part.logprobs else ()
        choice.tokens += _ids(part, "token_ids")
    return answer


def _joined(calls: tuple[tuple[str, str, str], ...], fragments: Iterable[Any]) -> tuple[tuple[str, str, str], ...]:
    joined = list(calls)
    for fragment in fragments:
        if fragment.index == len(joined):
            joined.append((fragment.id or "", "", ""))
        id_, name, arguments = joined[fragment.index]
        function = fragment.function
        joined[fragment.index] = (id_, name + (function.name or ""), arguments + (function.arguments or ""))
    return tuple(joined)


def _entries(entries: Iterable[Any] | None) -> tuple[Entry, ...]:
    def bits(entry: Any) -> tuple[bytes, bytes]:
        return bytes(entry.bytes or b""), np.float32(entry.logprob).tobytes()

    return tuple((*bits(entry), tuple(bits(top) for top in entry.top_logprobs)) for entry in entries or ())


def _ids(part: Any, name: str) -> tuple[int, ...]:
    return tuple(getattr(part, name, None) or ())
