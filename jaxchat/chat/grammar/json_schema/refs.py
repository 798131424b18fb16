"""Resolves references of a JSON Schema. Only references within the document are supported."""

from __future__ import annotations

from collections.abc import Iterator
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
        UnsupportedSchema: the reference is not `#` or a JSON pointer `#/...` into the document, or its target does not
            exist.
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


def names_in_place(root: Any, schema: Any, pointer: str) -> set[str] | None:
    """Returns the property names that `schema` and its in-place subschemas mention.

    In-place subschemas are those of `allOf`, `anyOf`, `oneOf`, `then`, `else`, `dependentSchemas`, `dependentRequired`
    and `dependencies`, and the target of `$ref`.

    If none of these schemas mentions a name, returns None, or the empty set if one of the schemas has `properties`.

    Args:
        root: the whole document.
        schema: a schema in the document. Malformed parts are skipped.
        pointer: JSON pointer of `schema`.

    Raises:
        UnsupportedSchema: a reference leaves this document, or its target does not exist.
    """
    names: set[str] = set()
    declared = False
    seen: set[str] = set()
    pending = [(schema, pointer)]
    while pending:
        part, location = pending.pop()
        if not isinstance(part, dict) or location in seen:
            continue
        seen.add(location)
        declared = declared or isinstance(part.get("properties"), dict)
        for value in [part.get("properties"), part.get("const"), *_list(part, "enum")]:
            names |= set(value) if isinstance(value, dict) else set()
        names |= {name for name in _list(part, "required") if isinstance(name, str)}
        pending += _children(part, location)
        if "$ref" in part:
            target_pointer, target = resolve(root, part["$ref"], location)
            pending.append((target, target_pointer))
    return names if names or declared else None


def _children(part: dict[str, Any], pointer: str) -> Iterator[tuple[Any, str]]:
    """Yields the in-place subschemas of a schema with their pointers. Omits the target of `$ref`."""
    for keyword in ("allOf", "anyOf", "oneOf"):
        for i, child in enumerate(_list(part, keyword)):
            yield child, child_pointer(pointer, keyword, i)
    for keyword in ("then", "else"):
        if "if" in part and keyword in part:
            yield part[keyword], child_pointer(pointer, keyword)
    for keyword in ("dependentSchemas", "dependencies", "dependentRequired"):
        children = part.get(keyword)
        for name, child in children.items() if isinstance(children, dict) else ():
            yield {"required": child} if isinstance(child, list) else child, child_pointer(pointer, keyword, name)


def _list(part: dict[str, Any], keyword: str) -> list[Any]:
    """Returns the list at `keyword`, or [] for any other value. `translate` reports the error."""
    items = part.get(keyword)
    return items if isinstance(items, list) else []
