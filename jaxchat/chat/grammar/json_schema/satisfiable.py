"""Checks that a finite value satisfies a schema. If a schema requires itself, an answer could begin but never end."""

from __future__ import annotations

from typing import Any

from jaxchat.chat.grammar.json_schema.keywords import TYPES, UnsupportedSchema


def check_satisfiable(schema: dict[str, Any]) -> None:
    """Checks that a translated schema has a finite value.

    Does not find contradictions between bounds, types and enums.

    Raises:
        UnsupportedSchema: the schema has no finite value, because it requires itself or a false schema.
    """
    definitions = schema.get("$defs", {})
    satisfiable: set[str] = set()
    while True:
        added = {
            name for name, part in definitions.items() if name not in satisfiable and _satisfiable(part, satisfiable)
        }
        if not added:
            break
        satisfiable |= added
    if not _satisfiable(schema, satisfiable):
        raise UnsupportedSchema("#", "no value can satisfy this schema.")


def _satisfiable(part: Any, satisfiable: set[str]) -> bool:
    """Returns whether `part` has a finite value. `satisfiable` names the definitions that are known to have one."""
    if isinstance(part, bool):
        return part
    if "$ref" in part and part["$ref"].removeprefix("#/$defs/") not in satisfiable:
        return False
    if not all(_satisfiable(child, satisfiable) for child in part.get("allOf", [])):
        return False
    if any(
        not any(_satisfiable(child, satisfiable) for child in part[key]) for key in ("anyOf", "oneOf") if key in part
    ):
        return False
    return any(_type_ends(name, part, satisfiable) for name in part.get("type", TYPES))


def _type_ends(name: str, part: dict[str, Any], satisfiable: set[str]) -> bool:
    if name == "object":
        members, patterns = part.get("properties", {}), part.get("patternProperties")
        missing = True if patterns else part.get("additionalProperties", True)
        return all(_satisfiable(members.get(key, missing), satisfiable) for key in part.get("required", []))
    if name == "array":
        prefix = part.get("prefixItems", [])
        least = part.get("minItems", 0)
        return all(_satisfiable(child, satisfiable) for child in prefix[:least]) and (
            least <= len(prefix) or _satisfiable(part.get("items", True), satisfiable)
        )
    return True
