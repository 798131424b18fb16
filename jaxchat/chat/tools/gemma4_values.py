"""Writes Lark rules for the values in the calls of Gemma 4, from translated JSON Schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from jaxchat.chat.grammar.json_schema.kinds import kinds
from jaxchat.chat.grammar.lark import LarkWriter, Schema
from jaxchat.chat.tools.argument_order import argument_orders
from jaxchat.chat.tools.gemma4_parser import QUOTE
from jaxchat.chat.tools.valid_value import is_valid
from jaxchat.chat.tools.value_rules import text_rules
from jaxchat.chat.tools.value_text import value_text

KEY = "[A-Za-z_][A-Za-z0-9_.-]{0,63}"
_ANY = "any"  # stands in for the definition of any value; no definition has this name
_TYPES = {"type", "$defs"}
_NUMBERS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
_LISTS = {"items", "minItems", "maxItems"}
_OBJECTS = {"properties", "required", "additionalProperties"}
_TEXTS = {"minLength", "maxLength", "pattern"}


class ValueRules:
    """A writer of Lark rules for values.

    Values that the syntax of Gemma 4 cannot express are written as JSON, which `Gemma4Parser` reads too.
    """

    def __init__(self, prefix: str, definitions: Schema, writer: LarkWriter) -> None:
        """Starts without references.

        Args:
            prefix: the beginning of the names of the rules for definitions.
            definitions: the targets of references, by name.
            writer: writes control tokens and JSON schemas.
        """
        self._prefix, self._definitions, self._writer = prefix, definitions, writer
        self._referenced: dict[str, str] = {}

    def key(self, name: str) -> str:
        """Returns a Lark literal for a key and its colon."""
        return json.dumps(f"{name if re.fullmatch(KEY, name) else json.dumps(name)}:")

    def definition_rules(self) -> Iterator[str]:
        """Yields the rules of all definitions that other rules refer to. Call it once, after all calls of `rules`."""
        written: set[str] = set()
        while pending := self._referenced.keys() - written:
            name = min(pending)
            written.add(name)
            if name == _ANY:
                yield from self._by_type(self._referenced[name], {})
            else:
                yield from self.rules(self._referenced[name], self._definitions[name])

    def rules(self, rule: str, schema: Schema | bool) -> Iterator[str]:
        """Yields the Lark rule named `rule`, which matches a value of `schema`, and the rules that it refers to.

        Does not yield the rules of definitions. `definition_rules` yields them.
        """
        schema = _simplified(schema)
        keys = schema.keys() - {"$defs"}
        if not keys:
            yield f"{rule}: {self._reference(_ANY)}"
        elif keys == {"$ref"}:
            yield f"{rule}: {self._reference(schema['$ref'])}"
        elif keys == {"anyOf"}:
            yield from self._options(rule, schema["anyOf"])
        elif constants := self._constants(schema):
            yield f"{rule}: {' | '.join(constants)}"
        elif self._has_own_form(schema):
            yield from self._by_type(rule, schema)
        else:
            yield f"{rule}: {self._writer.json(schema | {'$defs': self._definitions})}"

    def _by_type(self, rule: str, schema: Schema) -> Iterator[str]:
        """Yields `rule`, for a value of any type that `schema` allows, and one rule for each of these types."""
        types = sorted(kinds(schema, self._definitions))
        yield f"{rule}: {' | '.join(f'{rule}_{name}' for name in types)}"
        for name in types:
            yield from self._typed(f"{rule}_{name}", name, schema)

    def _reference(self, pointer: str) -> str:
        name = pointer.rpartition("/")[2]
        return self._referenced.setdefault(name, f"{self._prefix}_d{len(self._referenced)}")

    def _options(self, rule: str, schemas: list[Schema | bool]) -> Iterator[str]:
        yield f"{rule}: {' | '.join(f'{rule}_o{place}' for place in range(len(schemas)))}"
        for place, option in enumerate(schemas):
            yield from self.rules(f"{rule}_o{place}", option)

    def _constants(self, schema: Schema) -> list[str]:
        """Returns the literals of the allowed constants.

        Returns [] if a constant is an object, a list or a text that contains `<|"|>`, or if further keywords restrict
        the value.
        """
        rest = {key: value for key, value in schema.items() if key != "enum"}
        values = schema.get("enum", [])
        if any(isinstance(value, dict | list) or QUOTE in str(value) for value in values) or rest.keys() - _TYPES:
            return []
        return [self._constant(value) for value in values if is_valid(value, rest, self._definitions)]

    def _constant(self, value: Any) -> str:
        if isinstance(value, str):
            return self._writer.spelled((QUOTE, value, QUOTE))
        return '("null" | "None")' if value is None else json.dumps(json.dumps(value))

    def _has_own_form(self, schema: Schema) -> bool:
        allowed = kinds(schema, self._definitions)
        known = _TYPES | (_TEXTS if "string" in allowed else set()) | (_NUMBERS if "number" in allowed else set())
        known |= (_LISTS if "array" in allowed else set()) | (_OBJECTS if "object" in allowed else set())
        if schema.keys() - known or not allowed:
            return False
        if "string" in allowed and value_text(schema, self._definitions).texts is None:
            return False
        return not (schema.get("properties") and schema.get("additionalProperties", False) is not False)

    def _typed(self, rule: str, kind: str, schema: Schema) -> Iterator[str]:
        """Yields the rules of a value of one JSON type."""
        if kind == "null":
            yield f'{rule}: "null" | "None"'
        elif kind == "boolean":
            yield f'{rule}: "true" | "false"'
        elif kind == "number":
            types = schema.get("type", "number")
            whole = "number" not in ([types] if isinstance(types, str) else types)
            bounds = {key: value for key, value in schema.items() if key in _NUMBERS}
            yield f"{rule}: {self._writer.json({'type': 'integer' if whole else 'number'} | bounds)}"
        elif kind == "string":
            texts = {key: value for key, value in schema.items() if key in _TEXTS}
            yield f"{rule}: {self._writer.spelled((QUOTE,))} {rule}_text"
            value = value_text({"type": "string"} | texts, self._definitions)
            yield from text_rules(f"{rule}_text", value, QUOTE, self._writer)
        elif kind == "array":
            yield from self._list(rule, schema)
        else:
            yield from self._object(rule, schema)

    def _list(self, rule: str, schema: Schema) -> Iterator[str]:
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if most == 0 or schema.get("items", True) is False:
            yield f'{rule}: "[]"'
            return
        bounds = f"{{{max(least - 1, 0)},{'' if most is None else most - 1}}}"
        more = "" if most == 1 else f' ("," {rule}_item){bounds}'
        yield f'{rule}: "[" ({rule}_item{more}){"" if least else "?"} "]"'
        yield from self.rules(f"{rule}_item", schema.get("items", True))

    def _object(self, rule: str, schema: Schema) -> Iterator[str]:
        names = sorted(schema.get("properties", {}), key=str.lower)
        others = schema.get("additionalProperties", True)
        yield f'{rule}: "{{" {rule}_keys "}}"'
        if not names and others is not False:
            yield f'{rule}_keys: ({rule}_other ("," {rule}_other)*)?'
            yield f'{rule}_other: /{KEY}/ ":" {rule}_other_v'
            yield from self.rules(f"{rule}_other_v", others)
            return
        required = {*schema.get("required", [])}
        yield from argument_orders(f"{rule}_keys", names, required, comma=",", any_order=False)
        for place, name in enumerate(names):
            yield f"{rule}_keys_a{place}: {self.key(name)} {rule}_v{place}"
            yield from self.rules(f"{rule}_v{place}", schema["properties"][name])


def _simplified(schema: Schema | bool) -> Schema:
    """Returns an equivalent schema that is an object, with `enum` in place of `const`.

    Replaces an `allOf` with a single item by the item.
    """
    if isinstance(schema, bool):
        return {} if schema else {"not": {}}
    if len(schema.get("allOf", [])) == 1 and schema.keys() <= {"allOf", "$defs"}:
        return _simplified(schema["allOf"][0])
    if "const" in schema and "enum" not in schema:
        rest = {key: value for key, value in schema.items() if key != "const"}
        return rest | {"enum": [schema["const"]]}
    return schema
