"""Rewrites `propertyNames` as other keywords for objects."""

from __future__ import annotations

from typing import Any

from jaxchat.chat.grammar.json_schema import keywords
from jaxchat.chat.grammar.json_schema.document import Document
from jaxchat.chat.grammar.json_schema.formats import PATTERNS, is_annotation, is_whole
from jaxchat.chat.grammar.json_schema.keywords import Schema, UnsupportedSchema, child_pointer

_DEPTH = 8  # references
_STRING = keywords.STRING | {"type", "const", "enum"}


def restricted_names(document: Document, schema: Schema, pointer: str, *, merging: bool) -> Schema:
    """Returns an equivalent schema without `propertyNames`.

    A list of names becomes properties. A pattern, a format or limits of the length become `patternProperties`.

    Args:
        document: the whole document.
        schema: a schema of the request.
        pointer: JSON pointer of `schema`.
        merging: whether `schema` is intersected with other schemas.

    Raises:
        UnsupportedSchema: the names are restricted in a way that cannot be enforced.
    """
    if "propertyNames" not in schema:
        return schema
    rest = {keyword: value for keyword, value in schema.items() if keyword != "propertyNames"}
    names = _target(document, schema["propertyNames"], child_pointer(pointer, "propertyNames"))
    if names is True or (isinstance(names, dict) and not _asserting(names)):
        return rest
    location = child_pointer(pointer, "propertyNames")
    if names is False:
        return rest | {"properties": {}, "additionalProperties": False}
    if not isinstance(names, dict) or _asserting(names) - _STRING:
        raise UnsupportedSchema(
            location, "supported only with enum, const, pattern, format or lengths.", "propertyNames"
        )
    if merging:
        raise UnsupportedSchema(location, "not supported together with allOf, anyOf, oneOf or $ref.", "propertyNames")
    listed = names["enum"] if "enum" in names else [names["const"]] if "const" in names else None
    if listed is not None:
        return _listed(rest, listed, names, location)
    if "properties" in rest or "patternProperties" in rest:
        raise UnsupportedSchema(location, "a pattern is not supported beside declared members.", "propertyNames")
    others = rest.pop("additionalProperties", True)
    return rest | {"patternProperties": {_pattern(names, location): others}, "additionalProperties": False}


def _target(document: Document, names: Any, location: str) -> Any:
    """Follows references while a schema consists of nothing but a reference. Returns the schema of the last target."""
    for _ in range(_DEPTH):
        if not isinstance(names, dict) or names.keys() & keywords.ASSERTING != {"$ref"}:
            break
        location, names = document.resolve(names["$ref"], location)
    return names


def _asserting(names: Schema) -> set[str]:
    """Returns the keywords that restrict names. Omits keywords without effect, such as `type: string`."""
    result = set(names.keys() & keywords.ASSERTING)
    if names.get("type") == "string":
        result.discard("type")
    if is_annotation(names.get("format")) or is_whole(names.get("pattern")):
        result.discard("format")  # an annotation, or what the pattern says
    if names.get("minLength") == 0:
        result.discard("minLength")
    return result


def _listed(rest: Schema, listed: Any, names: Schema, location: str) -> Schema:
    if not isinstance(listed, list) or _asserting(names) - {"enum", "const"} or "patternProperties" in rest:
        raise UnsupportedSchema(location, "supported only with a list of names alone.", "propertyNames")
    declared = keywords.table(rest.get("properties", {}), location, "properties")
    allowed = [name for name in listed if isinstance(name, str)]
    members = {name: part for name, part in declared.items() if name in allowed}
    if "additionalProperties" in rest or "properties" not in rest:  # undeclared members are described
        others = rest.get("additionalProperties", True)
        members |= {name: others for name in dict.fromkeys(allowed) if name not in declared}
    return rest | {"properties": members, "additionalProperties": False}


def _pattern(names: Schema, location: str) -> str:
    """Returns the pattern of allowed names.

    Raises:
        UnsupportedSchema: the names are restricted in any other way than by one pattern, by one known format or by
            limits of their length.
    """
    restricting = _asserting(names)
    if restricting == {"pattern"} and isinstance(names["pattern"], str):
        return names["pattern"]
    if restricting == {"format"} and isinstance(names["format"], str) and names["format"] in PATTERNS:
        return PATTERNS[names["format"]]
    if restricting <= {"minLength", "maxLength"}:
        low = keywords.count(names.get("minLength", 0), location, "minLength", keywords.MAX_COUNT)
        high = (
            keywords.count(names["maxLength"], location, "maxLength", keywords.MAX_COUNT)
            if "maxLength" in names
            else ""
        )
        return f"^[^]{{{low},{high}}}$"
    raise UnsupportedSchema(
        location, "supported only with one of enum, const, pattern, format and lengths.", "propertyNames"
    )
