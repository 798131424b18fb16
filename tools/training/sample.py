"""Generated conversations, and the rule that decides whether one is for training or held out."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

Message = dict[str, Any]
Check = Literal["text", "json", "call", "open", "list", "shape"]

HELD_OUT_ONE_IN = 10


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A conversation whose last turn, by the assistant, is the answer to learn and to check.

    Attributes:
        skill: name of the skill.
        key: what training must not see if the sample is held out, such as a pair of numbers, a name or a question.
        messages: the turns.
        tools: declarations of tools.
        check: how the last turn is compared. "text", "json" and "call" demand an equal text, value or call. "open"
            accepts each answer of the grammar, "list" each list of the same kind and length, and "shape" each JSON
            object with the same keys and types.
        kind: the kind of answer, for the checks "open" and "list".
        bound: texts that an open answer must contain, as pairs (name in the grammar, text).
        response_format: how the answer must be written, as in a request. The prompt does not show it.
        given: parts of the answer that a response format dictates. They are not learned.
    """

    skill: str
    key: str
    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    check: Check = "text"
    kind: str = ""
    bound: tuple[tuple[str, str], ...] = ()
    response_format: dict[str, Any] | None = None
    given: tuple[str, ...] = ()

    @property
    def held_out(self) -> bool:
        """Whether the sample is kept out of training, as one key in ten is.

        This depends only on the skill and the key. Therefore no key of a skill is both in training and held out.
        """
        return zlib.crc32(f"{self.skill}:{self.key}".encode()) % HELD_OUT_ONE_IN == 0

    @property
    def prompt(self) -> list[Message]:
        """All messages except the answer."""
        return list(self.messages[:-1])

    @property
    def request(self) -> dict[str, Any]:
        """The fields of a chat request for the answer, without `model` and settings of sampling."""
        fields: dict[str, Any] = {"messages": self.prompt}
        if self.tools:
            fields["tools"] = list(self.tools)
        if self.response_format:
            fields["response_format"] = self.response_format
        return fields

    @property
    def answer(self) -> Message:
        """The expected assistant turn."""
        return self.messages[-1]

    def with_system(self, text: str) -> Sample:
        """Returns the conversation with a system prompt before it."""
        return replace(self, messages=({"role": "system", "content": text}, *self.messages))


def user(text: str) -> Message:
    """Returns a user turn."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    """Returns an assistant turn of text."""
    return {"role": "assistant", "content": text}


def calls(*named: tuple[str, dict[str, Any]]) -> Message:
    """Returns an assistant turn of tool calls, given as (name, arguments)."""
    functions = [{"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)} for name, arguments in named]
    tool_calls = [{"id": f"call_{i}", "type": "function", "function": f} for i, f in enumerate(functions)]
    return {"role": "assistant", "content": None, "tool_calls": tool_calls}


def result(content: str, index: int = 0) -> Message:
    """Returns a tool's result for call number `index` of the previous turn."""
    return {"role": "tool", "tool_call_id": f"call_{index}", "content": content}


def trained(make: Callable[[Random], Sample], rng: Random) -> Sample:
    """Returns a sample that is not held out. Skills that embed other skills must call this function."""
    while True:
        sample = make(rng)
        if not sample.held_out:
            return sample
