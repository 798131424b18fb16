"""The rules of an answer, and a writer of Lark, the grammar library's language for them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from jaxchat.chat.request.tool_choice import Mode

Schema = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class AnswerRules:
    """The rules of an answer.

    Args:
        mode: "none" allows text only, "auto" text or calls, "required" calls only.
        most: maximum number of calls.
        functions: names of the functions that may be called, with schemas of their arguments.
        answer: schema of an answer without calls; None for any text.
    """

    mode: Mode = "none"
    most: int = 0
    functions: tuple[tuple[str, Schema], ...] = ()
    answer: Schema | None = None


@dataclass(frozen=True)
class LarkWriter:
    """A writer of parts of Lark rules for one tokenizer.

    Args:
        control_tokens: ids of control tokens by their spellings.
        options: the grammar library's options for schemas.
    """

    control_tokens: dict[str, int] = field(default_factory=dict)
    options: Schema = field(default_factory=dict)

    def is_control(self, text: str) -> bool:
        """Returns whether `text` is a control token of the model."""
        return text in self.control_tokens

    def spelled(self, parts: tuple[str, ...]) -> str:
        """Returns the parts in sequence: control tokens by their ids, other parts as text, joined where adjacent."""
        items: list[str] = []
        text = ""
        for part in parts:
            if self.is_control(part):
                items += [json.dumps(text)] * bool(text) + [f"<[{self.control_tokens[part]}]>"]
                text = ""
            else:
                text += part
        return " ".join(items + [json.dumps(text)] * bool(text))

    def json(self, schema: Schema) -> str:
        """Returns a rule for JSON text that follows `schema`."""
        return f"%json {json.dumps({'x-guidance': self.options} | schema)}"

    def pattern(self, text: str) -> str:
        """Returns a pattern that matches `text` literally, for use between slashes."""
        return re.escape(text).replace("/", r"\/")
