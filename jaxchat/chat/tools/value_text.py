"""Reads and writes values of arguments that a model writes as plain text. Their types come from their schemas.

A string is written without quotes. Any other value is JSON, or one of the Python words `True`, `False` and `None`. The
text `5`, for example, may be a number or a string. If a schema allows both, it is the number: a text is a string only
if it is not the text of another value that the schema allows.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from jaxchat.chat.grammar.json_schema.keywords import Schema
from jaxchat.chat.grammar.json_schema.kinds import kinds
from jaxchat.chat.tools.valid_value import is_valid
from jaxchat.errors import reject_constant

LITERALS = {"True": True, "False": False, "None": None}


@dataclass(frozen=True)
class ValueText:
    """The form in which the value of one argument is written.

    Attributes:
        schema: the schema of the value.
        definitions: the targets of references, by name.
        texts: the patterns that the text of a string must match; None if strings are not allowed or are written as
            JSON.
        literals: the texts of true, false and null, as far as the schema allows these values. These texts need not
            match `texts`.
        strings_only: whether every value is a string that is written without quotes.
    """

    schema: Schema | bool
    definitions: Schema
    texts: tuple[str, ...] | None
    literals: tuple[str, ...] = ()
    strings_only: bool = False

    @property
    def may_be_empty(self) -> bool:
        """Whether the empty text is certainly an allowed string. Meaningless if `texts` is None."""
        return not self.texts

    def value(self, text: str) -> str:
        """Converts the value that a model has written as `text` to JSON text."""
        if self.strings_only:
            return json.dumps(text, ensure_ascii=False)
        word = LITERALS.get(text.strip(), text)
        if word is not text and is_valid(word, self.schema, self.definitions):
            return json.dumps(word)
        try:
            value = json.loads(text, parse_constant=reject_constant)
            if self.texts is None:
                return text.strip()
            written = json.dumps(value, ensure_ascii=False, allow_nan=False)
        except (ValueError, RecursionError):
            return json.dumps(text, ensure_ascii=False)
        if isinstance(value, str) or not is_valid(value, self.schema, self.definitions):
            return json.dumps(text, ensure_ascii=False)
        return written if isinstance(value, dict | list) else text.strip()


def value_text(schema: Schema | bool, definitions: Schema) -> ValueText:
    """Returns the form in which values of a translated schema are written.

    Args:
        schema: the translated schema.
        definitions: the targets of references, by name.
    """
    allowed = kinds(schema, definitions)
    texts = _texts(schema, definitions) if "string" in allowed else None
    if texts is None or allowed == {"string"}:
        return ValueText(schema, definitions, texts, strings_only=texts is not None)
    words = valid_words(schema, definitions)
    literals = [*words, *(json.dumps(LITERALS[word]) for word in words)]
    return ValueText(schema, definitions, texts, tuple(literals) if texts else ())


def valid_words(schema: Schema | bool, definitions: Schema) -> list[str]:
    """Returns the words among `True`, `False` and `None` whose values a schema allows.

    Args:
        schema: the translated schema.
        definitions: the targets of references, by name.
    """
    return [word for word, value in LITERALS.items() if is_valid(value, schema, definitions)]


def read_arguments(text: str) -> dict[str, Any]:
    """Returns the arguments of a past call. If `text` is not a JSON object, its value becomes the argument `_`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    return value if isinstance(value, dict) else {"_": value}


def plain(value: Any) -> str:
    """Returns a value as text: a string without quotes, any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _texts(schema: Schema | bool, definitions: Schema, depth: int = 0) -> tuple[str, ...] | None:
    """Returns the patterns that a string must match to follow a schema; None if patterns cannot express the schema."""
    if isinstance(schema, bool):
        return ()
    if depth > _DEPTH or "format" in schema or "oneOf" in schema:
        return None
    parts = [*schema.get("allOf", [])]
    if "$ref" in schema:
        parts.append(definitions[schema["$ref"].rpartition("/")[2]])
    options = [option for option in schema.get("anyOf", []) if "string" in kinds(option, definitions)]
    if len(options) > 1:
        return None
    result = _own(schema)
    for part in [*parts, *options]:
        inner = _texts(part, definitions, depth + 1)
        if inner is None or result is None:
            return None
        result += inner
    return result


_DEPTH = 16


def _own(schema: Schema) -> tuple[str, ...] | None:
    result = []
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if values is not None:
        result.append("|".join(_escaped(value) for value in values if isinstance(value, str)))
    if "minLength" in schema or "maxLength" in schema:
        result.append(f"(?s:.{{{schema.get('minLength', 0)},{schema.get('maxLength', '')}}})")
    if "pattern" in schema:
        anchored = _whole(schema["pattern"])
        if anchored is None:
            return None
        result.append(anchored)
    return tuple(result)


def _escaped(text: str) -> str:
    return "".join(char if char.isascii() and char.isalnum() else f"\\x{{{ord(char):x}}}" for char in text)


def _whole(pattern: str) -> str | None:
    """Converts a translated pattern, which may match a part of a text, to a pattern that matches complete texts.

    Returns None if an anchor is inside the pattern, or if a pattern with an anchor has alternatives.
    """
    start, end = pattern.startswith("^"), pattern.endswith("$")
    inside = pattern[start : len(pattern) - end]
    bare = re.sub(r"\[\^?", "[", inside)
    if "^" in bare or "$" in bare or ((start or end) and _alternatives(inside)):
        return None
    return f"{'' if start else '(?s:.*)'}(?:{inside}){'' if end else '(?s:.*)'}"


def _alternatives(pattern: str) -> bool:
    """Returns whether a pattern has alternatives outside parentheses."""
    depth = 0
    for char in pattern:
        depth += (char == "(") - (char == ")")
        if char == "|" and not depth:
            return True
    return False
