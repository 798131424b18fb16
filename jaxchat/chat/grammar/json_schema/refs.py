"""Resolves the references of a JSON Schema, all within one document."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema, child_pointer


def resolve(root: Any, reference: Any, pointer: str) -> tuple[str, Any]:
    """Returns the JSON pointer and the value of a reference's target.

    Args:
        root: the whole document.
        reference: the value of `$ref`.
        pointer: JSON pointer of the schema that contains the `$ref`.

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
    """Returns the property names that `schema` and its in-place subschemas (`allOf`, `anyOf`, `oneOf`, `$ref`) mention.

    Args:
        root: the whole document.
        schema: a schema in the document. Malformed parts are skipped.
        pointer: JSON pointer of `schema`.

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
    """Returns the list at `keyword`, or [] for any other value. `translate` reports the error."""
    items = part.get(keyword)
    return items if isinstance(items, list) else []
