"""A request's JSON Schema, checked keyword by keyword and rewritten so that the grammar library enforces all of it.

Members that a schema does not declare are generated only where `additionalProperties` asks for them, or where it
declares none: an answer never holds more than was described, which JSON Schema allows.
"""

from __future__ import annotations

from typing import Any

from jaxchat.chat.grammar.json_schema import keywords
from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema, below
from jaxchat.chat.grammar.json_schema.objects import translate_object
from jaxchat.chat.grammar.json_schema.refs import names_in_place, resolve
from jaxchat.chat.grammar.json_schema.satisfiable import check_satisfiable
from jaxchat.chat.grammar.json_schema.values import translate_array, translate_number, translate_string

MAX_PARTS = 20_000
_SCALARS = ["null", "boolean", "number", "string", "array"]


def translate(root: dict[str, Any], prefix: str = "") -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The schema for the grammar library, and where each keyword stands: pointers by keyword.

    `prefix` leads the names of definitions. Raises `UnsupportedSchema` for what cannot be enforced.
    """
    translator = Translator(root, prefix)
    result = translator.run()
    check_satisfiable(result)
    return result, translator.places


class Translator:
    """Walks one schema document. Refs become numbered definitions, of two kinds: complete, and parts of an `allOf`."""

    def __init__(self, root: dict[str, Any], prefix: str) -> None:
        self.root = root
        self._prefix = prefix
        self.places: dict[str, list[str]] = {}
        self._parts = 0
        self._definitions: dict[tuple[str, bool], str] = {}
        self._waiting: list[tuple[str, Any, bool, str]] = []

    def run(self) -> dict[str, Any]:
        body = self.part(self.root, "#", merged=False)
        definitions: dict[str, Any] = {}
        while self._waiting:
            pointer, schema, merged, name = self._waiting.pop()
            definitions[name] = self.part(schema, pointer, merged=merged)
        result: dict[str, Any] = body if isinstance(body, dict) else {"allOf": [body]}
        return result | {"$defs": definitions} if definitions else result

    def part(self, schema: Any, pointer: str, *, merged: bool = False) -> dict[str, Any] | bool:
        """One schema; `merged` says that what it describes is intersected with its siblings above."""
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise UnsupportedSchema(pointer, f"more than {MAX_PARTS} parts.")
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise UnsupportedSchema(pointer, "expected a schema.")
        keywords.check_keywords(schema, pointer)
        for keyword in schema:
            self.places.setdefault(keyword, []).append(below(pointer, keyword))
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
        result |= translate_array(self, schema, pointer)
        result |= translate_object(self, schema, pointer, merging=merging)
        return result

    def _apply(self, keyword: str, schema: dict[str, Any], pointer: str, result: dict[str, Any], merging: bool) -> None:
        if keyword == "$ref":
            result["$ref"] = self._reference(schema["$ref"], pointer, merging)
            return
        parts = []
        for i, child in enumerate(keywords.schemas(schema[keyword], pointer, keyword)):
            at = below(pointer, keyword, i)
            if keyword == "oneOf":  # whether options exclude each other is seen only without references
                at, child = self._target(child, at)
            parts.append(self.part(child, at, merged=merging))
        result[keyword] = parts + result.get(keyword, [])

    def _target(self, schema: Any, pointer: str) -> tuple[str, Any]:
        seen = set()
        while isinstance(schema, dict) and "$ref" in schema and not schema.keys() - keywords.ANNOTATIONS - {"$ref"}:
            if pointer in seen:
                raise UnsupportedSchema(below(pointer, "$ref"), "this reference leads to itself.", "$ref")
            seen.add(pointer)
            pointer, schema = resolve(self.root, schema["$ref"], pointer)
        return pointer, schema

    def _reference(self, reference: Any, pointer: str, merging: bool) -> str:
        target, schema = resolve(self.root, reference, pointer)
        key = (target, merging)
        if key not in self._definitions:
            name = self._definitions[key] = f"{self._prefix}d{len(self._definitions)}"
            self._waiting.append((target, schema, merging, name))
        return f"#/$defs/{self._definitions[key]}"

    def _close(self, schema: dict[str, Any], pointer: str, result: dict[str, Any]) -> None:
        """Members of an intersection: those that one of its parts declares, and no others."""
        names = names_in_place(self.root, schema, pointer)
        if names:
            members = {
                "type": "object",
                "properties": dict.fromkeys(sorted(names), True),
                "additionalProperties": False,
            }
            result["allOf"] = [*result.get("allOf", []), {"anyOf": [{"type": _SCALARS}, members]}]
