"""Whether a schema describes any finite value: one that requires itself could be begun but never ended."""

from __future__ import annotations

from typing import Any

from jaxchat.chat.grammar.json_schema.keywords import TYPES, UnsupportedSchema


def check_satisfiable(schema: dict[str, Any]) -> None:
    """Raises `UnsupportedSchema` when every value of a rewritten schema would be endless."""
    definitions = schema.get("$defs", {})
    finite: set[str] = set()
    while True:
        found = {name for name, part in definitions.items() if name not in finite and _satisfiable(part, finite)}
        if not found:
            break
        finite |= found
    if not _satisfiable(schema, finite):
        raise UnsupportedSchema("#", "no value can satisfy this schema.")


def _satisfiable(part: Any, finite: set[str]) -> bool:
    """Whether a value is known to end, given the definitions that are known to."""
    if isinstance(part, bool):
        return part
    if "$ref" in part and part["$ref"].removeprefix("#/$defs/") not in finite:
        return False
    if not all(_satisfiable(child, finite) for child in part.get("allOf", [])):
        return False
    if any(not any(_satisfiable(child, finite) for child in part[key]) for key in ("anyOf", "oneOf") if key in part):
        return False
    return any(_type_ends(name, part, finite) for name in part.get("type", TYPES))


def _type_ends(name: str, part: dict[str, Any], finite: set[str]) -> bool:
    if name == "object":
        members, patterns = part.get("properties", {}), part.get("patternProperties")
        missing = True if patterns else part.get("additionalProperties", True)
        return all(_satisfiable(members.get(key, missing), finite) for key in part.get("required", []))
    if name == "array":
        prefix = part.get("prefixItems", [])
        least = part.get("minItems", 0)
        return all(_satisfiable(child, finite) for child in prefix[:least]) and (
            least <= len(prefix) or _satisfiable(part.get("items", True), finite)
        )
    return True
