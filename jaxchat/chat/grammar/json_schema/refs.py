"""References within a schema."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema, below


def resolve(root: Any, reference: Any, pointer: str) -> tuple[str, Any]:
    """Returns the pointer and the schema that a `$ref` at `pointer` names.

    Raises:
        UnsupportedSchema: the reference leads out of this document.
    """
    at = below(pointer, "$ref")
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        raise UnsupportedSchema(at, "only references of the form '#/...' are supported.", "$ref")
    steps = [unquote(step).replace("~1", "/").replace("~0", "~") for step in reference.split("/")[1:]]
    found = root
    for step in steps:
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            raise UnsupportedSchema(at, "this reference names nothing in the schema.", "$ref")
    return below("#", *steps), found


def names_in_place(root: Any, schema: Any, pointer: str) -> set[str]:
    """Names of members that `schema`, and what it applies to the same value, declare."""
    names: set[str] = set()
    seen: set[str] = set()
    waiting = [(schema, pointer)]
    while waiting:
        part, at = waiting.pop()
        if not isinstance(part, dict) or at in seen:
            continue
        seen.add(at)
        for value in [part.get("properties"), part.get("const"), *_list(part, "enum")]:
            names |= set(value) if isinstance(value, dict) else set()
        names |= {name for name in _list(part, "required") if isinstance(name, str)}
        for keyword in ("allOf", "anyOf", "oneOf"):
            waiting += [(child, below(at, keyword, i)) for i, child in enumerate(_list(part, keyword))]
        if "$ref" in part:
            target, found = resolve(root, part["$ref"], at)
            waiting.append((found, target))
    return names


def _list(part: dict[str, Any], keyword: str) -> list[Any]:
    """What is no list is refused where that part itself is translated."""
    found = part.get(keyword)
    return found if isinstance(found, list) else []
