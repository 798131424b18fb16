"""Limits the digits of numbers, so that an answer cannot consist of endless digits.

An integer has at most 17 digits. Any other number has at most 13 digits before the point and 4 after it, or 8 before
and 9 after. Numbers have no exponent, because the grammar library cannot limit one.
"""

from __future__ import annotations

from typing import Any

from jaxchat.chat.grammar.json_schema.keywords import TYPES, Schema
from jaxchat.chat.grammar.json_schema.kinds import kinds

LARGEST = 10**17 - 16  # the largest number of 17 digits that is exact in double precision
_FORMS = ((1e13, 1e-4), (1e8, 1e-9))  # limit of the magnitude, and smallest step
_INTEGERS = {"type": ["integer"], "minimum": -LARGEST, "maximum": LARGEST}
_DECIMALS = [
    {"type": ["number"], "exclusiveMinimum": -limit, "exclusiveMaximum": limit, "multipleOf": step}
    for limit, step in _FORMS
]
_ANY = "any_value"
_REFERENCE = {"$ref": f"#/$defs/{_ANY}"}
_ANY_VALUE: Schema = {
    "anyOf": [
        {"type": ["null", "boolean", "string"]},
        _INTEGERS,
        *_DECIMALS,
        {"type": ["array"], "items": _REFERENCE},
        {"type": ["object"], "additionalProperties": _REFERENCE},
    ]
}
_IN_PLACE = {"$ref", "anyOf", "allOf", "const", "enum"}


def limit_digits(schema: Schema) -> Schema:
    """Returns the translated `schema`, restricted to numbers of at most 17 significant digits."""
    definitions = schema.get("$defs", {})
    limiter = _Limiter(definitions)
    body = limiter.part({name: value for name, value in schema.items() if name != "$defs"})
    parts = {
        name: limiter.part(part, merged=is_merged(name), in_place=is_merged(name)) for name, part in definitions.items()
    }
    if limiter.used_any:
        parts[_ANY] = _ANY_VALUE
    return body | {"$defs": parts} if parts else body


def definition_name(prefix: str, number: int, *, merged: bool) -> str:
    """Returns the name of a definition. `is_merged` can tell from the name which value `merged` had.

    Args:
        prefix: the beginning of the name.
        number: number of the definition.
        merged: whether the definition is used only within intersections.
    """
    return f"{prefix}{'merged' if merged else 'd'}{number}"


def is_merged(name: str) -> bool:
    """Returns whether `definition_name` made this name with `merged=True`."""
    return "merged" in name


class _Limiter:
    """A walk over the parts of one translated schema, to limit the numbers in them."""

    def __init__(self, definitions: Schema) -> None:
        self._definitions = definitions
        self._kinds: dict[str, frozenset[str]] = {}
        self.used_any = False

    def part(self, part: Any, *, merged: bool = False, in_place: bool = False) -> Any:
        """Returns a part with limited numbers.

        Args:
            part: the translated subschema.
            merged: whether the part lies within an intersection. Outside intersections, a part that allows any value is
                replaced by a reference to a definition with limited numbers. Within an intersection, the library might
                intersect such references endlessly.
            in_place: whether the part around this part already limits the numbers, as around the items of `allOf`.
        """
        if isinstance(part, bool) or not part:
            return self._any() if part in (True, {}) and not merged else part
        result = dict(part)
        merged = merged or "allOf" in part or bool(part.keys() & {"anyOf", "$ref"} and len(part) > 1)
        for keyword in ("properties", "patternProperties"):
            if keyword in part:
                result[keyword] = {name: self.part(item, merged=merged) for name, item in part[keyword].items()}
        for keyword in ("items", "additionalProperties"):
            if keyword in part:
                result[keyword] = self.part(part[keyword], merged=merged)
        if "prefixItems" in part:
            result["prefixItems"] = [self.part(item, merged=merged) for item in part["prefixItems"]]
        for keyword in ("allOf", "anyOf"):
            if keyword in part:
                within = in_place or len(part) > 1 or keyword == "allOf"
                result[keyword] = [self.part(item, merged=merged, in_place=within) for item in part[keyword]]
        if not merged and not part.keys() & _IN_PLACE:
            self._limit_rest(result)
        if not in_place:
            self._limit_numbers(part, result)
        return result

    def _any(self) -> Schema:
        self.used_any = True
        return dict(_REFERENCE)

    def _limit_rest(self, result: Schema) -> None:
        """Limits the numbers in items and members for which `result` has no schema."""
        types = result.get("type", TYPES)
        if "array" in types and "items" not in result:
            result["items"] = self._any()
        if "object" in types and not result.keys() & {"properties", "patternProperties", "additionalProperties"}:
            result["additionalProperties"] = self._any()

    def _limit_numbers(self, part: Schema, result: Schema) -> None:
        if part.keys() in ({"anyOf"}, {"$ref"}) or part.keys() & {"const", "enum"}:
            return  # options and definitions are limited themselves, and enums are finite
        allowed = kinds(part, self._definitions, self._kinds)
        if "number" not in allowed:
            return
        low = max((part[name] for name in ("minimum", "exclusiveMinimum") if name in part), default=None)
        high = min((part[name] for name in ("maximum", "exclusiveMaximum") if name in part), default=None)
        decimal = "number" in part.get("type", TYPES)
        if not decimal or _has_multiple(part, self._definitions, set()):
            limit = _FORMS[0][0] if decimal else LARGEST
            result |= {"minimum": -limit} if low is None else {}
            result |= {"maximum": limit} if high is None else {}
        elif low is not None and high is not None and max(abs(low), abs(high)) <= _FORMS[-1][0]:
            result["multipleOf"] = _FORMS[-1][1]
        else:
            others = [{"type": sorted(allowed - {"number"})}] if allowed != {"number"} else []
            result["allOf"] = [*result.get("allOf", []), {"anyOf": [*others, _INTEGERS, *_DECIMALS]}]


def _has_multiple(part: Any, definitions: Schema, seen: set[str]) -> bool:
    """Returns whether `part` contains a `multipleOf`, which the grammar library cannot always combine with decimals."""
    if not isinstance(part, dict):
        return False
    children = [*part.get("allOf", []), *part.get("anyOf", [])]
    if "$ref" in part and part["$ref"] not in seen:
        seen.add(part["$ref"])
        children.append(definitions[part["$ref"].rpartition("/")[2]])
    return "multipleOf" in part or any(_has_multiple(child, definitions, seen) for child in children)
