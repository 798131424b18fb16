"""What a request allows as an answer, and Lark, the language in which a tool format writes that down."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from jaxchat.chat.request.tool_choice import Mode

Schema = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class AnswerRules:
    """What an answer may hold.

    Args:
        mode: "none" allows no call, "auto" text or calls, "required" calls alone.
        most: the number of calls at most.
        functions: the name of each function that may be called and the schema of its arguments.
        answer: the schema of an answer without calls; None for any text.
    """

    mode: Mode = "none"
    most: int = 0
    functions: tuple[tuple[str, Schema], ...] = ()
    answer: Schema | None = None


@dataclass(frozen=True)
class LarkWriter:
    """Writes parts of rules in Lark, for one tokenizer.

    Args:
        control_tokens: the id of each control token by its spelling.
        options: of the grammar library, for every schema.
    """

    control_tokens: dict[str, int] = field(default_factory=dict)
    options: Schema = field(default_factory=dict)

    def is_control(self, text: str) -> bool:
        """Returns whether a text is a control token of the model."""
        return text in self.control_tokens

    def spelled(self, parts: tuple[str, ...]) -> str:
        """Returns parts one after the other: control tokens by their ids, others as text, neighbours together."""
        spelled: list[str] = []
        text = ""
        for part in parts:
            if self.is_control(part):
                spelled += [json.dumps(text)] * bool(text) + [f"<[{self.control_tokens[part]}]>"]
                text = ""
            else:
                text += part
        return " ".join(spelled + [json.dumps(text)] * bool(text))

    def json(self, schema: Schema) -> str:
        """Returns JSON text that a schema describes."""
        return f"%json {json.dumps({'x-guidance': self.options} | schema)}"

    def pattern(self, text: str) -> str:
        """Returns a pattern of exactly that text, to stand between slashes."""
        return re.escape(text).replace("/", r"\/")
