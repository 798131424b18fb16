"""Checks a request's JSON Schema keyword by keyword and rewrites it so that the grammar library enforces all of it.

Undeclared properties are generated only if `additionalProperties` asks for them, or if the schema declares no property.
JSON Schema itself would allow them in other cases too.
"""

from __future__ import annotations

from typing import Any

from jaxchat.chat.grammar.json_schema import keywords
from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema, child_pointer
from jaxchat.chat.grammar.json_schema.objects import translate_object
from jaxchat.chat.grammar.json_schema.refs import names_in_place, resolve
from jaxchat.chat.grammar.json_schema.satisfiable import check_satisfiable
from jaxchat.chat.grammar.json_schema.values import translate_array, translate_number, translate_string

MAX_PARTS = 20_000
_SCALARS = ["null", "boolean", "number", "string", "array"]


def translate(root: dict[str, Any], prefix: str = "") -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Returns the schema for the grammar library, and by keyword the JSON pointers at which the keyword stands.

    Args:
        root: the request's schema.
        prefix: begins the names of definitions in the result.

    Raises:
        UnsupportedSchema: a keyword or a value cannot be enforced, no finite value satisfies the schema, or it has more
            than 20,000 subschemas.
        RecursionError: the schema is nested too deep.
    """
    translator = Translator(root, prefix)
    result = translator.run()
    check_satisfiable(result)
    return result, translator.places


class Translator:
    """A translator of one schema document.

    The target of a reference becomes a numbered definition. It becomes a second one if it is referred to both as a
    complete schema and as a part of an intersection.
    """

    def __init__(self, root: dict[str, Any], prefix: str) -> None:
        self.root = root
        self._prefix = prefix
        self.places: dict[str, list[str]] = {}
        self._parts = 0
        self._definitions: dict[tuple[str, bool], str] = {}
        self._pending: list[tuple[str, Any, bool, str]] = []

    def run(self) -> dict[str, Any]:
        body = self.part(self.root, "#", merged=False)
        definitions: dict[str, Any] = {}
        while self._pending:
            pointer, schema, merged, name = self._pending.pop()
            definitions[name] = self.part(schema, pointer, merged=merged)
        result: dict[str, Any] = body if isinstance(body, dict) else {"allOf": [body]}
        return result | {"$defs": definitions} if definitions else result

    def part(self, schema: Any, pointer: str, *, merged: bool = False) -> dict[str, Any] | bool:
        """Translates a subschema.

        Args:
            schema: the subschema.
            pointer: its JSON pointer.
            merged: whether the result will be intersected with the schemas around it.

        Raises:
            UnsupportedSchema: the subschema cannot be enforced.
        """
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise UnsupportedSchema(pointer, f"more than {MAX_PARTS} parts.")
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise UnsupportedSchema(pointer, "expected a schema.")
        keywords.check_keywords(schema, pointer)
        for keyword in schema:
            self.places.setdefault(keyword, []).append(child_pointer(pointer, keyword))
        applied = keywords.APPLICATORS & schema.keys()
        merging = merged or "allOf" in applied or (bool(applied) and len(schema.keys() - keywords.ANNOTATIONS) > 1)
        result = self._assertions(schema, pointer, merging)
        for keyword in ("$ref", "anyOf", "oneOf", "allOf"):
            if keyword in applied:
                self._apply(keyword, schema, pointer, result, merging)
        if merging and not merged:
            self._close(schema, pointer, result)
        return result

    def _assertions(self, schema: dict[str, Any], pointer: str, merging: bool) -> dict[str, Any]:
        result: dict[str, Any] = {}
        if "type" in schema:
            result["type"] = keywords.types(schema["type"], pointer)
        if "const" in schema:
            keywords.literal(schema["const"], pointer, "const")
            result["const"] = schema["const"]
        if "enum" in schema:
            keywords.literal(keywords.schemas(schema["enum"], pointer, "enum"), pointer, "enum")
            result["enum"] = schema["enum"]
        result |= translate_number(schema, pointer)
        result |= translate_string(schema, pointer)
        result |= translate_array(self.part, schema, pointer)
        result |= translate_object(self.part, schema, pointer, merging=merging)
        return result

    def _apply(self, keyword: str, schema: dict[str, Any], pointer: str, result: dict[str, Any], merging: bool) -> None:
        if keyword == "$ref":
            result["$ref"] = self._reference(schema["$ref"], pointer, merging)
            return
        parts = []
        for i, child in enumerate(keywords.schemas(schema[keyword], pointer, keyword)):
            location = child_pointer(pointer, keyword, i)
            if keyword == "oneOf":  # the library compares the options only if they are not references
                location, child = self._target(child, location)
            parts.append(self.part(child, location, merged=merging))
        result[keyword] = parts + result.get(keyword, [])

    def _target(self, schema: Any, pointer: str) -> tuple[str, Any]:
        seen = set()
        while isinstance(schema, dict) and "$ref" in schema and not schema.keys() - keywords.ANNOTATIONS - {"$ref"}:
            if pointer in seen:
                raise UnsupportedSchema(child_pointer(pointer, "$ref"), "this reference leads to itself.", "$ref")
            seen.add(pointer)
            pointer, schema = resolve(self.root, schema["$ref"], pointer)
        return pointer, schema

    def _reference(self, reference: Any, pointer: str, merging: bool) -> str:
        target, schema = resolve(self.root, reference, pointer)
        key = (target, merging)
        if key not in self._definitions:
            name = self._definitions[key] = f"{self._prefix}d{len(self._definitions)}"
            self._pending.append((target, schema, merging, name))
        return f"#/$defs/{self._definitions[key]}"

    def _close(self, schema: dict[str, Any], pointer: str, result: dict[str, Any]) -> None:
        """Restricts the properties of an intersection to those that one of its parts declares."""
        names = names_in_place(self.root, schema, pointer)
        if names:
            members = {
                "type": "object",
                "properties": dict.fromkeys(sorted(names), True),
                "additionalProperties": False,
            }
            result["allOf"] = [*result.get("allOf", []), {"anyOf": [{"type": _SCALARS}, members]}]
