"""Resolves references within a schema."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema, child_pointer


def resolve(root: Any, reference: Any, pointer: str) -> tuple[str, Any]:
    """Returns the pointer and the schema that a `$ref` at `pointer` names.

    Raises:
        UnsupportedSchema: the reference leaves this document, or its target does not exist.
    """
    location = child_pointer(pointer, "$ref")
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        raise UnsupportedSchema(location, "only references of the form '#/...' are supported.", "$ref")
    steps = [unquote(step).replace("~1", "/").replace("~0", "~") for step in reference.split("/")[1:]]
    target = root
    for step in steps:
        if isinstance(target, dict) and step in target:
            target = target[step]
        elif isinstance(target, list) and step.isdecimal() and int(step) < len(target):
            target = target[int(step)]
        else:
            raise UnsupportedSchema(location, "the target of this reference does not exist.", "$ref")
    return child_pointer("#", *steps), target


def names_in_place(root: Any, schema: Any, pointer: str) -> set[str]:
    """Returns the member names that `schema`, or a subschema that it applies to the same value, declares.

    Raises:
        UnsupportedSchema: a reference leaves this document, or its target does not exist.
    """
    names: set[str] = set()
    seen: set[str] = set()
    pending = [(schema, pointer)]
    while pending:
        part, location = pending.pop()
        if not isinstance(part, dict) or location in seen:
            continue
        seen.add(location)
        for value in [part.get("properties"), part.get("const"), *_list(part, "enum")]:
            names |= set(value) if isinstance(value, dict) else set()
        names |= {name for name in _list(part, "required") if isinstance(name, str)}
        for keyword in ("allOf", "anyOf", "oneOf"):
            pending += [(child, child_pointer(location, keyword, i)) for i, child in enumerate(_list(part, keyword))]
        if "$ref" in part:
            target_pointer, target = resolve(root, part["$ref"], location)
            pending.append((target, target_pointer))
    return names


def _list(part: dict[str, Any], keyword: str) -> list[Any]:
    """Returns the list at `keyword`, or [] for any other value; `translate` reports the error."""
    items = part.get(keyword)
    return items if isinstance(items, list) else []
