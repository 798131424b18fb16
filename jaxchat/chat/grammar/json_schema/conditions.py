"""Rewrites `not`, `if`, `dependentRequired` and `dependentSchemas` as unions of schemas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jaxchat.chat.grammar.json_schema import keywords
from jaxchat.chat.grammar.json_schema.complement import complement
from jaxchat.chat.grammar.json_schema.document import Document
from jaxchat.chat.grammar.json_schema.keywords import Schema, UnsupportedSchema, child_pointer


def conditions(document: Document, schema: Schema, pointer: str) -> Iterator[tuple[str, Schema | bool]]:
    """Yields the schemas that replace the conditions of `schema`, as pairs of a JSON pointer and a schema.

    A value must satisfy all these schemas.

    Args:
        document: the whole document.
        schema: a schema in the document.
        pointer: JSON pointer of `schema`.

    Raises:
        UnsupportedSchema: a condition is malformed, is nested too deep or has a keyword that cannot be negated, or the
            document takes too many comparisons.
    """
    if "not" in schema:
        location = child_pointer(pointer, "not")
        yield location, _any_of(complement(document, schema["not"], location))
    if "if" in schema and schema.keys() & {"then", "else"}:
        location = child_pointer(pointer, "if")
        otherwise = _any_of(complement(document, schema["if"], location))
        met = {"allOf": [schema["if"], schema.get("then", True)]}
        unmet = {"allOf": [otherwise, schema.get("else", True)]}
        yield location, met if otherwise is False else {"anyOf": [met, unmet]}
    for name, names in keywords.table(schema.get("dependentRequired", {}), pointer, "dependentRequired").items():
        location = child_pointer(pointer, "dependentRequired", name)
        if not isinstance(names, list) or not all(isinstance(item, str) for item in names):
            raise UnsupportedSchema(location, "expected a list of names.", "dependentRequired")
        yield location, {"anyOf": [_without(name), {"required": [name, *names]}]}
    for name, part in keywords.table(schema.get("dependentSchemas", {}), pointer, "dependentSchemas").items():
        location = child_pointer(pointer, "dependentSchemas", name)
        yield location, {"anyOf": [_without(name), {"required": [name], "allOf": [part]}]}


def _any_of(options: list[Schema]) -> Schema | bool:
    return {"anyOf": options} if options else False


def _without(name: str) -> Schema:
    members: dict[str, Any] = {name: False}
    return {"properties": members}
