"""Negates JSON Schemas, as `not`, `if` and `oneOf` require.

The negation is a list of schemas. Every value that satisfies one of these schemas violates the original schema. The
list may be incomplete: some values that violate the original schema may satisfy none of these schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from jaxchat.chat.grammar.json_schema import formats, keywords
from jaxchat.chat.grammar.json_schema.document import Document
from jaxchat.chat.grammar.json_schema.keywords import TYPES, Schema, UnsupportedSchema, child_pointer
from jaxchat.chat.grammar.json_schema.older_drafts import modern
from jaxchat.chat.grammar.json_schema.patterns import all_but

MAX_DEPTH = 16  # references and subschemas
MAX_TEXT = 1000  # characters of the texts in one enum
_OPPOSITES = {
    "minimum": "exclusiveMaximum",
    "maximum": "exclusiveMinimum",
    "exclusiveMinimum": "maximum",
    "exclusiveMaximum": "minimum",
}
_COUNTS = {  # the type, the opposite keyword, and the step to the first value that is excluded
    "minLength": ("string", "maxLength", -1),
    "maxLength": ("string", "minLength", 1),
    "minItems": ("array", "maxItems", -1),
    "maxItems": ("array", "minItems", 1),
    "minProperties": ("object", "maxProperties", -1),
    "maxProperties": ("object", "minProperties", 1),
}


def complement(document: Document, schema: Any, pointer: str, depth: int = 0) -> list[Schema]:
    """Returns schemas whose values all violate `schema`; [] if no such schema can be written.

    Args:
        document: the whole document.
        schema: a schema in the document, before translation.
        pointer: JSON pointer of `schema`.
        depth: number of references and subschemas on the way to `schema`.

    Raises:
        UnsupportedSchema: `schema` is malformed, is nested too deep or has a keyword that cannot be negated, or the
            document takes too many comparisons.
    """
    document.count_step(pointer)
    if isinstance(schema, bool):
        return [] if schema else [{}]
    if depth > MAX_DEPTH or not isinstance(schema, dict):
        raise UnsupportedSchema(pointer, "this part is nested too deep to be negated, or not a schema.")
    schema = modern(schema, pointer)
    return [option for keyword in schema for option in negated(document, schema, keyword, pointer, depth)]


def negated(document: Document, schema: Schema, keyword: str, pointer: str, depth: int = 0) -> list[Schema]:
    """Returns schemas whose values all violate one keyword of a schema; [] if no such schema can be written.

    Args:
        document: the whole document.
        schema: a schema in the document.
        keyword: the keyword.
        pointer: JSON pointer of `schema`.
        depth: number of references and subschemas on the way to `schema`.

    Raises:
        UnsupportedSchema: the keyword cannot be negated, its value is malformed or nested too deep, or the document
            takes too many comparisons.
    """
    part = _Keyword(document, schema[keyword], keyword, pointer, depth + 1)
    if keyword in _OPPOSITES:
        return [{"type": "number", _OPPOSITES[keyword]: part.value}]
    if keyword in _COUNTS:
        kind, opposite, step = _COUNTS[keyword]
        limit = keywords.count(part.value, pointer, keyword, keywords.MAX_LENGTH) + step
        return [{"type": kind, opposite: limit}] if limit >= 0 else []
    if keyword in _NEGATIONS:
        return _NEGATIONS[keyword](part)
    harmless = keyword == "format" and formats.is_annotation(part.value)
    if harmless or (keyword == "additionalProperties" and part.value in (True, {})):
        return []
    if keyword in keywords.ASSERTING:
        raise UnsupportedSchema(part.location, "not supported inside 'not', 'if' or 'dependentSchemas'.", keyword)
    return []


@dataclass(frozen=True)
class _Keyword:
    """A keyword to be negated, with its value and the pointer of its schema."""

    document: Document
    value: Any
    name: str
    pointer: str
    depth: int

    @property
    def location(self) -> str:
        return child_pointer(self.pointer, self.name)

    def complement_of(self, part: Any, *steps: str | int) -> list[Schema]:
        """Returns the complement of a subschema below the keyword. Raises as `complement` does."""
        return complement(self.document, part, child_pointer(self.location, *steps), self.depth)


def _type(keyword: _Keyword) -> list[Schema]:
    excluded = {"number" if name == "integer" else name for name in keywords.types(keyword.value, keyword.pointer)}
    others = [name for name in TYPES if name not in excluded]
    return [{"type": others}] if others else []


def _literals(keyword: _Keyword) -> list[Schema]:
    values = [keyword.value] if keyword.name == "const" else keyword.value
    if not isinstance(values, list) or any(isinstance(item, list | dict) for item in values):
        raise UnsupportedSchema(keyword.location, "a list or an object cannot be negated here.", keyword.name)
    texts = [item for item in values if isinstance(item, str)]
    if sum(map(len, texts)) > MAX_TEXT:
        reason = f"texts of more than {MAX_TEXT} characters together cannot be negated."
        raise UnsupportedSchema(keyword.location, reason, keyword.name)
    flags = [item for item in values if isinstance(item, bool)]
    numbers = sorted({item for item in values if isinstance(item, int | float) and not isinstance(item, bool)})
    excluded = {"null"} if None in values else set()
    excluded |= {name for name, items in (("string", texts), ("boolean", flags), ("number", numbers)) if items}
    result: list[Schema] = [{"type": [name for name in TYPES if name not in excluded]}]
    if texts:
        result.append({"type": "string", "pattern": all_but(texts)})
    result += [{"const": flag} for flag in (True, False) if flags and flag not in flags]
    return result + list(_gaps(numbers))


def _gaps(numbers: list[Any]) -> Iterator[Schema]:
    """Yields schemas for the numbers below, between and above some sorted numbers; none for an empty list."""
    for low, high in zip([None, *numbers], [*numbers, None], strict=True):
        bounds = {"exclusiveMinimum": low, "exclusiveMaximum": high}
        if numbers:
            yield {"type": "number"} | {name: bound for name, bound in bounds.items() if bound is not None}


def _required(keyword: _Keyword) -> list[Schema]:
    names = keyword.value if isinstance(keyword.value, list) else []
    return [{"type": "object", "properties": {name: False}} for name in names if isinstance(name, str)]


def _properties(keyword: _Keyword) -> list[Schema]:
    parts = keywords.table(keyword.value, keyword.pointer, keyword.name)
    return [
        {"type": "object", "properties": {name: option}, "required": [name]}
        for name, part in parts.items()
        for option in keyword.complement_of(part, name)
    ]


def _any_of(keyword: _Keyword) -> list[Schema]:
    """Returns one schema, in a list, for the values that satisfy none of the options of `anyOf` or `oneOf`.

    Values that satisfy several options of `oneOf` violate it too, but the returned schema does not allow them. Returns
    [] if the negation of an option cannot be written.
    """
    parts = keywords.schemas(keyword.value, keyword.pointer, keyword.name)
    all_options = [keyword.complement_of(part, i) for i, part in enumerate(parts)]
    return [{"allOf": [{"anyOf": options} for options in all_options]}] if all(all_options) else []


def _all_of(keyword: _Keyword) -> list[Schema]:
    parts = keywords.schemas(keyword.value, keyword.pointer, keyword.name)
    return [option for i, part in enumerate(parts) for option in keyword.complement_of(part, i)]


def _not(keyword: _Keyword) -> list[Schema]:
    return [keyword.value] if isinstance(keyword.value, dict) else [{}] * (keyword.value is True)


def _reference(keyword: _Keyword) -> list[Schema]:
    pointer, target = keyword.document.resolve(keyword.value, keyword.pointer)
    return complement(keyword.document, target, pointer, keyword.depth)


_NEGATIONS: dict[str, Callable[[_Keyword], list[Schema]]] = {
    "type": _type,
    "const": _literals,
    "enum": _literals,
    "required": _required,
    "properties": _properties,
    "anyOf": _any_of,
    "oneOf": _any_of,
    "allOf": _all_of,
    "not": _not,
    "$ref": _reference,
}
