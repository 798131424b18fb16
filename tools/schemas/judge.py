"""Judges the grammars of random everyday schemas in both directions, without a model.

    python -m tools.schemas.judge --count 2000

Random walks under the token mask must end in values that the package `jsonschema` accepts for the schema as it was
sent. The mask must admit values that `jsonschema` accepts, unless they have undeclared members. The exit status is 1 if
a value violates one of these rules.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from jsonschema import Draft202012Validator

from jaxchat import v1
from jaxchat.chat.grammar import GrammarCompiler
from jaxchat.chat.grammar.constraint import output_constraint
from jaxchat.chat.prompt.tokenizer import ChatTokenizer, load_tokenizer
from jaxchat.chat.request.tool_choice import ToolChoice
from jaxchat.errors import ChatError
from jaxchat.model_directory import find
from tools.schemas.everyday import everyday_schemas
from tools.schemas.shapes import Shape

STEPS = 120  # tokens of a walk
SAMPLES = 4  # values and walks for each schema


class Judge:
    """A comparison of grammars with `jsonschema`. Schemas are compiled to grammars for the bundled tokenizer."""

    def __init__(self) -> None:
        self._tokenizer: ChatTokenizer = load_tokenizer(find("bundled"))
        self._compiler = GrammarCompiler(self._tokenizer, self._tokenizer.size)
        tokens = range(self._tokenizer.size)
        self._bytes = {self._tokenizer.bytes_of(token): token for token in tokens}
        ends = (b'"', b"}", b"]", b'"}', b'"]')
        self._closing = np.zeros(self._tokenizer.size, bool)
        self._closing[[token for token in tokens if self._tokenizer.bytes_of(token) in ends]] = True
        self._closing[list(self._tokenizer.stop_tokens)] = True

    def verdicts(self, shape: Shape, seed: int) -> Iterator[str]:
        """Yields the verdicts on a schema. Verdicts on wrong grammars begin with WRONG.

        Args:
            shape: the schema, and a function that draws values for it.
            seed: seed of the values and of the random answers.
        """
        request = v1.ChatCompletionRequest(model="m")
        request.response_format.type = v1.RESPONSE_FORMAT_TYPE_JSON_SCHEMA
        request.response_format.json_schema.name = "judged"
        request.response_format.json_schema.schema = json.dumps(shape.schema)
        try:
            constraint = output_constraint(request, ToolChoice())
            assert constraint is not None
            grammar = self._compiler.compiled(constraint)
        except ChatError as error:
            yield f"refused: {error.message.partition(': ')[2]}"
            return
        checker = Draft202012Validator(as_standard(shape.schema))
        chance = random.Random(seed)
        for _ in range(SAMPLES):
            text = self._walk(grammar.start(), chance)
            if text is None:
                yield "unfinished"
            elif checker.is_valid(json.loads(text)):
                yield "valid"
            else:
                yield f"WRONG answer {text} of {json.dumps(shape.schema)}"
            value = shape.sample(chance)
            if not checker.is_valid(value):
                yield "not a value of the schema"
            elif self._admits(grammar.start(), json.dumps(value, ensure_ascii=False)):
                yield "admitted"
            elif not Draft202012Validator(closed(as_standard(shape.schema))).is_valid(value):
                yield "has undeclared members"
            else:
                yield f"WRONG refusal of {json.dumps(value)} by {json.dumps(shape.schema)}"

    def close(self) -> None:
        """Ends the process that probes grammars."""
        self._compiler.close()

    def _walk(self, constraint: Any, chance: random.Random) -> str | None:
        """Returns a complete random answer, or None if the answer becomes too long."""
        row, data = self._row(), b""
        for step in range(STEPS):
            constraint.fill(row)
            allowed = self._allowed(row)
            ends = np.flatnonzero(allowed & self._closing) if chance.random() < 0.2 + step / STEPS else row[:0]
            ids = ends if len(ends) else np.flatnonzero(allowed)
            token = int(ids[chance.randrange(len(ids))])
            constraint.accept(token)
            if token in self._tokenizer.stop_tokens:
                return data.decode()
            data += self._tokenizer.bytes_of(token)
        return None

    def _admits(self, constraint: Any, text: str) -> bool:
        row = self._row()
        try:
            for byte in text.encode():
                constraint.accept(self._bytes[bytes([byte])])
        except ValueError:
            return False
        constraint.fill(row)
        return bool(self._allowed(row)[list(self._tokenizer.stop_tokens)].all())

    def _allowed(self, row: np.ndarray) -> np.ndarray:
        """Returns which tokens a mask allows, bool `[tokens]`."""
        return np.unpackbits(row.view(np.uint8), count=self._tokenizer.size, bitorder="little").astype(bool)

    def _row(self) -> np.ndarray:
        return np.zeros((self._tokenizer.size + 31) // 32, np.uint32)


def as_standard(schema: Any) -> Any:
    """Translates a schema from OpenAPI 3.0 or an older draft to JSON Schema 2020-12.

    Replaces only what random schemas use: `nullable`, a boolean `exclusiveMinimum`, a list as `items`, and
    `dependencies`. Removes `$schema`.
    """
    if isinstance(schema, list):
        return [as_standard(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {name: as_standard(value) for name, value in schema.items() if name != "$schema"}
    if result.get("exclusiveMinimum") is True:
        result["exclusiveMinimum"] = result.pop("minimum")
    if isinstance(result.get("items"), list):
        result["prefixItems"] = result.pop("items")
        result["items"] = result.pop("additionalItems", True)
    for name, part in result.pop("dependencies", {}).items():
        result.setdefault("dependentRequired" if isinstance(part, list) else "dependentSchemas", {})[name] = part
    return {"anyOf": [result, {"type": "null"}]} if result.pop("nullable", None) is True else result


_SUBSCHEMAS = ("items", "additionalProperties")
_IN_PLACE = ("allOf", "anyOf", "oneOf")


def closed(schema: Any) -> Any:
    """Returns `schema`, of draft 2020-12, with undeclared members forbidden. Answers of jaxchat never have any."""
    if not isinstance(schema, dict):
        return schema
    result = dict(schema)
    for name in _SUBSCHEMAS:
        if name in schema:
            result[name] = closed(schema[name])
    if "properties" in schema:
        result["properties"] = {name: closed(part) for name, part in schema["properties"].items()}
    if "prefixItems" in schema:
        result["prefixItems"] = [closed(part) for part in schema["prefixItems"]]
    if "anyOf" in schema and not {"properties", "oneOf", "allOf"} & schema.keys():
        return result | {"anyOf": [closed(part) for part in schema["anyOf"]]}
    for name in _IN_PLACE:
        if name in schema:
            result[name] = [_members_closed(part) for part in schema[name]]
    open_map = "additionalProperties" in schema or not {"properties", *_IN_PLACE} & schema.keys()
    return result if open_map else result | {"unevaluatedProperties": False}


def _members_closed(schema: Any) -> Any:
    """Returns `schema`, an entry of an `allOf` or a similar list, with the schemas of its members closed.

    The entry itself stays open, because other entries of the list may declare more members of the same object.
    """
    result = closed(schema)
    return {name: value for name, value in result.items() if name != "unevaluatedProperties"}


def judged(count: int, seed: int) -> Counter[str]:
    """Returns how often each verdict was given on `count` schemas."""
    judge, verdicts = Judge(), Counter[str]()
    for number, shape in enumerate(itertools.islice(everyday_schemas(seed), count)):
        verdicts.update(judge.verdicts(shape, number))
    judge.close()
    return verdicts


def main() -> int:
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools.schemas.judge", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="schemas to be judged")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    verdicts = judged(args.count, args.seed)
    for verdict, count in verdicts.most_common():
        print(f"{count:6} {verdict[:3000]}")
    return int(any(verdict.startswith("WRONG") for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
