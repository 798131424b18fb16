"""Proves that no value satisfies two JSON Schemas."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from jaxchat.chat.grammar.json_schema.document import Document
from jaxchat.chat.grammar.json_schema.keywords import TYPES, Schema, UnsupportedSchema, is_number
from jaxchat.chat.grammar.json_schema.kinds import equal, kind_of
from jaxchat.chat.grammar.json_schema.older_drafts import modern

MAX_DEPTH = 12  # references and subschemas


def disjoint(document: Document, a: Any, b: Any, depth: int = 0) -> bool:
    """Returns whether it is certain that no value satisfies both schemas. False means unknown.

    Args:
        document: the whole document.
        a: a schema, before translation.
        b: another schema, before translation.
        depth: number of references and subschemas on the way to the schemas.

    Raises:
        UnsupportedSchema: the document takes too many comparisons.
    """
    document.count_step("#")
    if a is False or b is False:
        return True
    if depth > MAX_DEPTH or not isinstance(a, dict) or not isinstance(b, dict):
        return False
    parts_a, parts_b = list(_conjuncts(document, a, depth)), list(_conjuncts(document, b, depth))
    if any(part is False for part in (*parts_a, *parts_b)):
        return True
    known_a, known_b = _Known(parts_a), _Known(parts_b)
    if all(_no_common(document, kind, known_a, known_b, depth) for kind in known_a.types & known_b.types):
        return True
    return _by_options(document, parts_a, b, depth) or _by_options(document, parts_b, a, depth)


def _by_options(document: Document, parts: list[Any], other: Schema, depth: int) -> bool:
    """Returns whether some part has an `anyOf` or `oneOf` whose options all exclude `other`."""
    for part in parts:
        rest = {name: value for name, value in part.items() if name not in ("anyOf", "oneOf", "allOf", "$ref")}
        for keyword in ("anyOf", "oneOf"):
            options = part.get(keyword)
            if isinstance(options, list) and options:
                beside = [{"allOf": [rest, option]} if rest else option for option in options]
                if all(disjoint(document, option, other, depth + 1) for option in beside):
                    return True
    return False


def _conjuncts(document: Document, schema: Any, depth: int) -> Iterator[Any]:
    """Yields `schema`, the parts of its `allOf` and the target of its `$ref`. A value must satisfy all of them."""
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        if schema is False:
            yield False
        return
    document.count_step("#")
    try:
        schema = modern(schema, "#")
        target = document.resolve(schema["$ref"], "#")[1] if "$ref" in schema else None
    except UnsupportedSchema:
        return  # translation reports the error
    yield schema
    yield from _conjuncts(document, target, depth + 1)
    for part in schema["allOf"] if isinstance(schema.get("allOf"), list) else ():
        yield from _conjuncts(document, part, depth + 1)


class _Known:
    """The keywords of all conjuncts of one schema, read together."""

    def __init__(self, parts: list[Schema]) -> None:
        self._parts = parts
        self.values = self._common_values()
        self.types = frozenset(TYPES)
        for part in parts:
            if "type" in part:
                names = part["type"] if isinstance(part["type"], list) else [part["type"]]
                self.types &= {"number" if name == "integer" else name for name in names if isinstance(name, str)}
        if self.values is not None:
            self.types &= {kind_of(value) for value in self.values}
        self.required = {name for name in self._items("required") if isinstance(name, str)}

    def _common_values(self) -> list[Any] | None:
        lists = [[part["const"]] for part in self._parts if "const" in part]
        lists += [part["enum"] for part in self._parts if isinstance(part.get("enum"), list)]
        if not lists:
            return None
        return [value for value in lists[0] if all(any(equal(value, item) for item in other) for other in lists)]

    def _items(self, keyword: str) -> list[Any]:
        return [item for part in self._parts if isinstance(part.get(keyword), list) for item in part[keyword]]

    def limit(self, keyword: str, missing: float) -> float:
        """Returns the strictest value of a limit such as `minLength`, or `missing` if no conjunct has this limit."""
        values = [part[keyword] for part in self._parts if is_number(part.get(keyword))]
        return (max if keyword.startswith("min") else min)([missing, *values])

    def interval(self) -> tuple[float, bool, float, bool]:
        """Returns the bounds of a number: lower, whether lower is excluded, upper, whether upper is excluded."""
        low = max([(-math.inf, False), *self._bounds("minimum", "exclusiveMinimum")])
        high = min(
            [(math.inf, True), *((value, not open_) for value, open_ in self._bounds("maximum", "exclusiveMaximum"))]
        )
        return low[0], low[1], high[0], not high[1]

    def _bounds(self, closed: str, exclusive: str) -> Iterator[tuple[float, bool]]:
        for part in self._parts:
            for keyword, is_open in ((closed, False), (exclusive, True)):
                if is_number(part.get(keyword)):
                    yield part[keyword], is_open

    def integers_only(self) -> bool:
        """Returns whether a number must be an integer."""
        return any(
            "number" not in (part["type"] if isinstance(part["type"], list) else [part["type"]])
            for part in self._parts
            if "type" in part
        )

    def member(self, name: str) -> list[Any]:
        """Returns schemas that a member with this name must satisfy.

        Ignores `patternProperties`. Also ignores `additionalProperties` if the schema has `patternProperties`.
        """
        schemas = []
        for part in self._parts:
            members = part.get("properties")
            if isinstance(members, dict) and name in members:
                schemas.append(members[name])
            elif "additionalProperties" in part and "patternProperties" not in part:
                schemas.append(part["additionalProperties"])
        return schemas

    def item(self, index: int) -> list[Any]:
        """Returns the schemas that the item at an index must satisfy."""
        schemas = []
        for part in self._parts:
            prefix = part["prefixItems"] if isinstance(part.get("prefixItems"), list) else []
            schemas += [prefix[index]] if index < len(prefix) else [part["items"]] if "items" in part else []
        return schemas


def _no_common(document: Document, kind: str, a: _Known, b: _Known, depth: int) -> bool:
    """Returns whether it is certain that no value of the JSON type `kind` satisfies both schemas."""
    for one, other in ((a, b), (b, a)):
        if one.values is not None:
            values = [value for value in one.values if kind_of(value) == kind]
            return all(_excludes(document, other, value, depth) for value in values)
    if kind == "string":
        return _apart(a, b, "minLength", "maxLength")
    if kind == "number":
        return _no_common_number(a, b)
    if kind == "array":
        return _apart(a, b, "minItems", "maxItems") or _no_common_item(document, a, b, depth)
    if kind == "object":
        names = a.required | b.required
        return _apart(a, b, "minProperties", "maxProperties") or any(
            _all_disjoint(document, a.member(name), b.member(name), depth) for name in sorted(names)
        )
    return False


def _excludes(document: Document, known: _Known, value: Any, depth: int) -> bool:
    """Returns whether it is certain that a value does not satisfy a schema."""
    if known.values is not None:
        return not any(equal(value, item) for item in known.values)
    if isinstance(value, str):
        return not known.limit("minLength", 0) <= len(value) <= known.limit("maxLength", math.inf)
    if is_number(value):
        low, low_open, high, high_open = known.interval()
        inside = low <= value <= high and not (value == low and low_open) and not (value == high and high_open)
        return not inside or (known.integers_only() and value != int(value))
    if isinstance(value, dict):
        return not known.required <= value.keys() or any(
            disjoint(document, {"const": item}, part, depth + 1)
            for name, item in value.items()
            for part in known.member(name)
        )
    return False


def _apart(a: _Known, b: _Known, least: str, most: str) -> bool:
    """Returns whether the limits of two schemas exclude each other.

    For example, if `least` is "minLength" and `most` is "maxLength", returns True if one schema demands a longer text
    than the other schema allows.
    """
    return max(a.limit(least, 0), b.limit(least, 0)) > min(a.limit(most, math.inf), b.limit(most, math.inf))


def _no_common_number(a: _Known, b: _Known) -> bool:
    (low_a, open_a, high_a, end_a), (low_b, open_b, high_b, end_b) = a.interval(), b.interval()
    low, low_open = max((low_a, open_a), (low_b, open_b))
    high, high_closed = min((high_a, not end_a), (high_b, not end_b))
    if a.integers_only() or b.integers_only():
        low, high = math.floor(low) + 1 if low_open and low > -math.inf else low, high
        first = math.ceil(low) if low > -math.inf else low
        last = math.floor(high) if high < math.inf else high
        last = last - 1 if not high_closed and last == high else last
        return first > last
    return low > high or (low == high and (low_open or not high_closed))


def _no_common_item(document: Document, a: _Known, b: _Known, depth: int) -> bool:
    least = int(max(a.limit("minItems", 0), b.limit("minItems", 0)))
    return any(_all_disjoint(document, a.item(i), b.item(i), depth) for i in range(min(least, 16)))


def _all_disjoint(document: Document, a: list[Any], b: list[Any], depth: int) -> bool:
    """Returns whether it is certain that no value satisfies all schemas of both lists."""
    if any(part is False for part in (*a, *b)):
        return True
    return disjoint(document, {"allOf": a}, {"allOf": b}, depth + 1) if a or b else False
