"""The rules of an answer, and a writer for Lark, the language of the grammar library."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from jaxchat.chat.grammar.json_schema.digits import limit_digits
from jaxchat.chat.request.tool_choice import Mode

Schema = dict[str, Any]
_CLOSED = {"type", "additionalProperties", "$defs"}


def is_empty_object(schema: Schema) -> bool:
    """Returns whether a translated schema allows the empty object only."""
    return schema.get("additionalProperties") is False and not schema.keys() - _CLOSED


@dataclass(frozen=True, kw_only=True)
class AnswerRules:
    """The text and the calls that an answer may have.

    Args:
        mode: "none" allows only text, "auto" allows text or calls, and "required" allows only calls.
        most: maximum number of calls.
        functions: names of the functions that may be called, with translated schemas of their arguments.
        answer: translated schema of an answer without calls, or a Lark expression for it; None for any text.
    """

    mode: Mode = "none"
    most: int = 0
    functions: tuple[tuple[str, Schema], ...] = ()
    answer: Schema | str | None = None


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
        """Returns a Lark expression for the joined parts. Control tokens become ids, other text becomes literals."""
        items = (self._item(piece) for piece in self._split("".join(parts)))
        return " ".join(items)

    def split_opening(self, opening: str) -> tuple[str, str]:
        """Splits `opening` before its first control token.

        Args:
            opening: a text that is not empty.

        Returns:
            The text before the control token, and a Lark expression for the text from the control token on. The second
            is "" if `opening` has no control token.
        """
        first, *others = self._split(opening)
        text = "" if self.is_control(first) else first
        return text, self.spelled(("".join(others if text else [first, *others]),))

    def _split(self, text: str) -> list[str]:
        """Returns `text` split into control tokens and other text, without empty pieces."""
        if not self.control_tokens:
            return [text] * bool(text)
        longest_first = sorted(self.control_tokens, key=len, reverse=True)
        return [piece for piece in re.split(f"({'|'.join(map(re.escape, longest_first))})", text) if piece]

    def _item(self, text: str) -> str:
        return f"<[{self.control_tokens[text]}]>" if self.is_control(text) else json.dumps(text)

    def json(self, schema: Schema | str) -> str:
        """Returns a Lark expression for JSON text that follows the translated `schema`.

        If `schema` is a text, it is already a Lark expression, and is returned unchanged.
        """
        if isinstance(schema, str):
            return schema
        if is_empty_object(schema):
            return json.dumps("{}")  # without white space
        return f"%json {json.dumps({'x-guidance': self.options} | limit_digits(schema))}"

    def pattern(self, text: str) -> str:
        """Returns a pattern that matches `text` literally, for use between slashes."""
        return re.escape(text).replace("/", r"\/").replace("\\\n", r"\n")
