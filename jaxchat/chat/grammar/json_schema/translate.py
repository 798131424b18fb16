"""Checks a request's JSON Schema keyword by keyword and rewrites it so that the grammar library enforces all of it.

JSON Schema allows properties that no keyword names, unless `additionalProperties` excludes them. Here, `properties`,
`patternProperties` or `required` exclude them too, unless the schema has `additionalProperties`. Beside
`patternProperties`, and where schemas are combined by `allOf`, `$ref` and the like, they are excluded in any case.
"""

from __future__ import annotations

from typing import Any

from jaxchat.chat.grammar.json_schema import keywords
from jaxchat.chat.grammar.json_schema.conditions import conditions
from jaxchat.chat.grammar.json_schema.digits import definition_name
from jaxchat.chat.grammar.json_schema.document import Document
from jaxchat.chat.grammar.json_schema.exclusive import exclusive_options
from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema, child_pointer
from jaxchat.chat.grammar.json_schema.objects import translate_object
from jaxchat.chat.grammar.json_schema.older_drafts import modern
from jaxchat.chat.grammar.json_schema.refs import names_in_place
from jaxchat.chat.grammar.json_schema.satisfiable import check_satisfiable
from jaxchat.chat.grammar.json_schema.values import translate_array, translate_number, translate_string

MAX_PARTS = 20_000
_NOT_OBJECTS = [name for name in keywords.TYPES if name != "object"]


def translate(
    root: dict[str, Any], prefix: str = "", *, strict: bool = False
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Returns the schema for the grammar library, and a dict with the JSON pointers of each keyword in `root`.

    Args:
        root: the request's schema.
        prefix: the beginning of the names of definitions in the result.
        strict: whether unknown keywords are errors. Otherwise they are annotations.

    Raises:
        UnsupportedSchema: a keyword or a value cannot be enforced, or no finite value satisfies the schema. Also if the
            schema has more than 20,000 subschemas, or if `oneOf`, `not` and `if` take more than 20,000 comparisons.
        RecursionError: the schema is nested too deep.
    """
    translator = Translator(Document(root, strict), prefix)
    result = translator.run()
    check_satisfiable(result)
    return result, translator.places


class Translator:
    """A translator of one schema document.

    The target of a reference becomes a numbered definition. A target that is used both as a complete schema and as a
    part of an intersection becomes two definitions.

    Args:
        document: the document.
        prefix: the beginning of the names of definitions.
    """

    def __init__(self, document: Document, prefix: str) -> None:
        self._document = document
        self._prefix = prefix
        self.places: dict[str, list[str]] = {}
        self._parts = 0
        self._definitions: dict[tuple[str, bool], str] = {}
        self._pending: list[tuple[str, Any, bool, str]] = []

    def run(self) -> dict[str, Any]:
        """Returns the translated document. Raises `UnsupportedSchema` if a part of it cannot be enforced."""
        body = self.part(self._document.root, "#", merged=False)
        definitions: dict[str, Any] = {}
        while self._pending:
            pointer, schema, merged, name = self._pending.pop()
            definitions[name] = self.part(schema, pointer, merged=merged)
        result: dict[str, Any] = body if isinstance(body, dict) else {"allOf": [body]}
        return result | {"$defs": definitions} if definitions else result

    def part(self, schema: Any, pointer: str, *, merged: bool = False) -> dict[str, Any] | bool:
        """Translates a subschema and records the JSON pointers of its keywords.

        Args:
            schema: the subschema.
            pointer: JSON pointer of the subschema.
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
        schema = modern(schema, pointer)
        keywords.check_keywords(schema, pointer, strict=self._document.strict)
        for keyword in schema:
            self.places.setdefault(keyword, []).append(child_pointer(pointer, keyword))
        applied = (keywords.APPLICATORS | keywords.CONDITIONS) & schema.keys()
        merging = merged or bool(applied & {"allOf", *keywords.CONDITIONS})
        merging = merging or (bool(applied) and len(schema.keys() & keywords.ASSERTING) > 1)
        result = self._assertions(schema, pointer, merging)
        for keyword in ("$ref", "anyOf", "oneOf", "allOf"):
            if keyword in applied:
                self._apply(keyword, schema, pointer, result, merging)
        for location, condition in conditions(self._document, schema, pointer):
            _add(result, {"allOf": [self.part(condition, location, merged=True)]})
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
        _add(result, translate_number(schema, pointer))
        _add(result, translate_string(schema, pointer))
        _add(result, translate_array(self.part, self._document, schema, pointer))
        _add(result, translate_object(self.part, self._document, schema, pointer, merging=merging))
        return result

    def _apply(self, keyword: str, schema: dict[str, Any], pointer: str, result: dict[str, Any], merging: bool) -> None:
        if keyword == "$ref":
            result["$ref"] = self._reference(schema["$ref"], pointer, merging)
        elif keyword == "oneOf":
            options = exclusive_options(self._document, schema, pointer)
            parts = [self.part(option, location, merged=merging) for location, option in options]
            _add(result, {"allOf": [{"anyOf": parts}]} if "anyOf" in result else {"anyOf": parts})
        else:
            children = enumerate(keywords.schemas(schema[keyword], pointer, keyword))
            _add(
                result,
                {
                    keyword: [
                        self.part(child, child_pointer(pointer, keyword, i), merged=merging) for i, child in children
                    ]
                },
            )

    def _reference(self, reference: Any, pointer: str, merging: bool) -> str:
        target, schema = self._document.resolve(reference, pointer)
        key = (target, merging)
        if key not in self._definitions:
            name = self._definitions[key] = definition_name(self._prefix, len(self._definitions), merged=merging)
            self._pending.append((target, schema, merging, name))
        return f"#/$defs/{self._definitions[key]}"

    def _close(self, schema: dict[str, Any], pointer: str, result: dict[str, Any]) -> None:
        """Restricts the properties of an intersection to names that at least one of its schemas mentions."""
        names = names_in_place(self._document.root, schema, pointer)
        if names is not None:
            members = {
                "type": "object",
                "properties": dict.fromkeys(sorted(names), True),
                "additionalProperties": False,
            }
            _add(result, {"allOf": [{"anyOf": [{"type": _NOT_OBJECTS}, members]}]})


def _add(result: dict[str, Any], part: dict[str, Any]) -> None:
    """Adds the translated keywords of `part` to `result`. If both have `allOf`, joins the two lists."""
    both = [*result.get("allOf", []), *part.get("allOf", [])]
    result |= part
    if both:
        result["allOf"] = both
