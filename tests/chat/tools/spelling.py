"""Calls as the models of each format write them, made without the descriptions of the formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Calls = list[tuple[str, dict[str, Any]]]


def dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def plain(value: Any) -> str:
    """A value as the formats with tags have it."""
    return value if isinstance(value, str) else dumps(value)


def objects(calls: Calls, key: str = "arguments") -> list[str]:
    return [dumps({"name": name, key: arguments}) for name, arguments in calls]


def qwen3_coder(calls: Calls) -> str:
    return "\n".join(
        f"<tool_call>\n<function={name}>\n"
        + "".join(f"<parameter={key}>\n{plain(value)}\n</parameter>\n" for key, value in arguments.items())
        + "</function>\n</tool_call>"
        for name, arguments in calls
    )


SPELLINGS: dict[str, Callable[[Calls], str]] = {
    "hermes": lambda calls: "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in objects(calls)),
    "llama3": lambda calls: objects(calls, "parameters")[0],
    "mistral": lambda calls: f"[TOOL_CALLS] [{', '.join(objects(calls))}]",
    "mistral-nemo": lambda calls: f"[TOOL_CALLS][{', '.join(objects(calls))}]",
    "mistral-args": lambda calls: "".join(f"[TOOL_CALLS]{name}[ARGS]{dumps(given)}" for name, given in calls),
    "qwen3-coder": qwen3_coder,
}
SINGLE = ("llama3",)  # one call at most
WHOLE = ("llama3",)  # calls are the complete answer
