"""One generated conversation, and the rule that says whether it is for training or held out."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

Message = dict[str, Any]
Check = Literal["text", "json", "call"]

HELD_OUT_ONE_IN = 10


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A conversation that ends with the assistant turn to be learned and checked.

    `key` identifies what training must not see if the sample is held out: a pair of numbers, a name, the exact wording
    of a question. `check` says how the last turn is compared: text, parsed JSON or tool calls.
    """

    skill: str
    key: str
    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    check: Check = "text"

    @property
    def held_out(self) -> bool:
        """True for one key in ten. It depends on the key alone, so the two splits can never share one."""
        return zlib.crc32(f"{self.skill}:{self.key}".encode()) % HELD_OUT_ONE_IN == 0

    @property
    def prompt(self) -> list[Message]:
        """All messages but the answer."""
        return list(self.messages[:-1])

    @property
    def answer(self) -> Message:
        """The assistant turn that is expected."""
        return self.messages[-1]

    def with_system(self, text: str) -> Sample:
        """Returns the same conversation with a system prompt."""
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
    """Returns a tool's result for call number `index` of the turn before."""
    return {"role": "tool", "tool_call_id": f"call_{index}", "content": content}


def trained(make: Callable[[Random], Sample], rng: Random) -> Sample:
    """Returns a sample that is not held out. Skills embed other skills only through this, so that nothing leaks."""
    while True:
        sample = make(rng)
        if not sample.held_out:
            return sample
