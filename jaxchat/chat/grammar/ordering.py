"""Objects whose members may come in any order."""

from __future__ import annotations

from itertools import permutations
from typing import Any

Schema = dict[str, Any]

MOST_ORDERED = 4  # arguments of one function; their orders are 24
_KNOWN = {"type", "properties", "required", "additionalProperties"}


def in_any_order(schema: Schema) -> Schema:
    """Leaves the order of a few arguments to the model, which may have learned another than the declared one.

    The grammar library knows objects in one order only; a model that is forced into it fills in wrong values.
    """
    members = schema.get("properties", {})
    if not 2 <= len(members) <= MOST_ORDERED or schema.keys() - _KNOWN:
        return schema
    return {"anyOf": [schema | {"properties": dict(order)} for order in permutations(members.items())]}
