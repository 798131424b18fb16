"""Proves that the options of `oneOf` exclude each other, or restricts them until they do."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from jaxchat.chat.grammar.json_schema import keywords
from jaxchat.chat.grammar.json_schema.complement import MAX_DEPTH, complement, negated
from jaxchat.chat.grammar.json_schema.disjoint import disjoint
from jaxchat.chat.grammar.json_schema.document import Document
from jaxchat.chat.grammar.json_schema.keywords import Schema, UnsupportedSchema, child_pointer
from jaxchat.chat.grammar.json_schema.older_drafts import modern

MAX_PAIRS = 2000


def exclusive_options(document: Document, schema: Schema, pointer: str) -> list[tuple[str, Any]]:
    """Returns the options of `oneOf` with their pointers, restricted so that no value satisfies two options.

    If two options may have a value in common, each of them is restricted to values that violate the other option in one
    of these ways:

    - The value has another type or constant, or breaks a limit such as `maximum` or `minItems`.
    - The value lacks a member that the other option requires.
    - A member that both options declare has a value that the other option forbids.
    - The value violates `anyOf`, `oneOf` or `not` of the other option.
    - The value is an array with at least one item. This way is used if no such array satisfies both options.

    A value could also violate the other option by a wrong value of a member that only the other option declares. Such
    answers would be unnatural. This way is therefore used only inside `anyOf`, `oneOf` and `not` of the other option.

    Args:
        document: the whole document.
        schema: a schema with `oneOf`.
        pointer: JSON pointer of `schema`.

    Raises:
        UnsupportedSchema: two options may have a value in common and cannot be restricted, `oneOf` or a reference is
            malformed, or there are too many options or comparisons.
    """
    options = keywords.schemas(schema["oneOf"], pointer, "oneOf")
    if len(options) * (len(options) - 1) / 2 > MAX_PAIRS:
        raise UnsupportedSchema(child_pointer(pointer, "oneOf"), "too many options to compare.", "oneOf")
    context = {name: value for name, value in schema.items() if name != "oneOf"}
    beside = [{"allOf": [context, option]} for option in options]
    overlapping: dict[int, list[int]] = {}
    for i, j in combinations(range(len(options)), 2):
        if not disjoint(document, beside[i], options[j]):
            overlapping.setdefault(i, []).append(j)
            overlapping.setdefault(j, []).append(i)
    result = []
    for i, option in enumerate(options):
        target, option = _target(document, option, child_pointer(pointer, "oneOf", i))
        restrictions = []
        for j in overlapping.get(i, []):
            apart = list(_apart(document, beside[i], options[j], child_pointer(pointer, "oneOf", j)))
            if not apart:
                raise _overlap(pointer, i, j)
            restrictions.append({"anyOf": apart})
        result.append((target, {"allOf": [option, *restrictions]} if restrictions else option))
    return result


def _apart(document: Document, option: Schema, other: Any, pointer: str) -> Iterator[Schema]:
    """Yields restrictions for `option`. A value that satisfies both `option` and a restriction violates `other`.

    Omits restrictions that lead to unnatural answers, see `exclusive_options`.
    """
    names = set(_declared(document, option))
    for candidate in _natural(document, other, pointer, names, 0):
        if not disjoint(document, option, candidate):
            yield candidate
    not_empty = {"type": "array", "minItems": 1}
    if disjoint(document, {"allOf": [option, not_empty]}, other) and not disjoint(document, option, not_empty):
        yield not_empty


def _natural(document: Document, schema: Any, pointer: str, names: set[str], depth: int) -> Iterator[Schema]:
    """Yields schemas whose values all violate `schema`.

    Where `schema` has `properties`, only the members in `names` get wrong values. Inside `anyOf` and `oneOf`, any
    member may get a wrong value.
    """
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return
    schema = modern(schema, pointer)
    for keyword in schema:
        try:
            if keyword == "$ref":
                target, part = document.resolve(schema["$ref"], pointer)
                yield from _natural(document, part, target, names, depth + 1)
            elif keyword == "allOf":
                for i, part in enumerate(keywords.schemas(schema["allOf"], pointer, "allOf")):
                    yield from _natural(document, part, child_pointer(pointer, "allOf", i), names, depth + 1)
            elif keyword == "properties":
                yield from _wrong_members(document, schema, pointer, names)
            elif keyword in ("anyOf", "oneOf"):
                yield from complement(document, {keyword: schema[keyword]}, pointer, depth + 1)
            else:
                yield from negated(document, schema, keyword, pointer, depth)
        except UnsupportedSchema:
            continue  # a keyword that cannot be negated cannot separate options


def _wrong_members(document: Document, schema: Schema, pointer: str, names: set[str]) -> Iterator[Schema]:
    for name, part in keywords.table(schema["properties"], pointer, "properties").items():
        if name in names:
            yield from complement(document, {"properties": {name: part}}, pointer)


def _declared(document: Document, schema: Any, depth: int = 0) -> Iterator[str]:
    """Yields the names of the members that are declared by a schema, by its `allOf` or by the target of its `$ref`."""
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return
    document.count_step("#")
    yield from schema["properties"] if isinstance(schema.get("properties"), dict) else ()
    for part in schema["allOf"] if isinstance(schema.get("allOf"), list) else ():
        yield from _declared(document, part, depth + 1)
    if "$ref" in schema:
        yield from _declared(document, document.resolve(schema["$ref"], "#")[1], depth + 1)


def _target(document: Document, schema: Any, pointer: str) -> tuple[str, Any]:
    """Follows references of an option that consists of nothing but a reference, so that errors point at the target.

    Returns the JSON pointer and the schema of the last target. Raises UnsupportedSchema if a reference leads to itself
    or has no target.
    """
    seen = set()
    while isinstance(schema, dict) and schema.keys() & keywords.ASSERTING == {"$ref"}:
        if pointer in seen:
            raise UnsupportedSchema(child_pointer(pointer, "$ref"), "this reference leads to itself.", "$ref")
        seen.add(pointer)
        pointer, schema = document.resolve(schema["$ref"], pointer)
    return pointer, schema


def _overlap(pointer: str, i: int, j: int) -> UnsupportedSchema:
    return UnsupportedSchema(
        child_pointer(pointer, "oneOf"),
        f"options {i} and {j} do not exclude each other: a value may satisfy both. Consider anyOf, or a const or a "
        "required member that differs.",
        "oneOf",
    )
