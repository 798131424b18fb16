"""The grammar of answers that call functions, in the Hermes syntax."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from jaxchat.chat.calling import Calling, Mode
from jaxchat.chat.grammar.given import MAX_BYTES, checked
from jaxchat.chat.grammar.piece import EMPTY_OBJECT, Piece
from jaxchat.chat.toolcalls import CLOSE, OPEN
from jaxchat.errors import invalid

Schema = dict[str, Any]

_TEXT = f"TEXT: /(?s:.*)/ & ~/(?s:.*){OPEN}(?s:.*)/"
_HEAD = f"head[lazy]: /(?s:.*){OPEN}/"  # text, up to the first call's opening
_REST = f'rest: "\\n" body "\\n{CLOSE}"'
_CALL = f'call: "{OPEN}" rest'
MOST_ORDERED = 4  # arguments of one function; their orders are 24
_ORDERED = {"type", "properties", "required", "additionalProperties"}
PARAM = {False: "tools", True: "functions"}


@dataclass(frozen=True)
class Calls:
    """Which calls an answer may hold: the names that may be called, and the schema of the arguments of each."""

    mode: Mode
    most: int
    names: tuple[str, ...]
    arguments: tuple[Piece, ...]
    param: str

    def lark(self, options: Schema, arguments: Sequence[Schema], answer: Schema | None) -> str:
        """The grammar, of schemas made for the grammar library; `answer` is that of an answer without calls."""
        rules = [self._start(answer is not None)]
        if answer is not None:
            rules.append(f"answer: %json {json.dumps({'x-guidance': options} | answer)}")
        if self.mode != "required" and answer is None:
            rules += [_TEXT, _HEAD] if self.names else [_TEXT]
        if self.names:
            rules += [_CALL, _REST, f"body: %json {json.dumps(_body(options, self.names, arguments))}"]
        return "\n".join(rules)

    def _start(self, formatted: bool) -> str:
        more = f' ("\\n" call){{0,{self.most - 1}}}' if self.most > 1 else ""
        if self.mode == "required":
            return f"start: call{more}"
        if formatted:
            return f"start: answer | call{more}"
        return f"start: TEXT | head rest{more}" if self.names else "start: TEXT"


def asked_calls(called: Calling) -> Calls | None:
    """What a request's functions ask of the grammar, None without any. Raises `ChatError` 400 for bad parameters."""
    if not called.functions:
        return None
    param = PARAM[called.legacy]
    pieces = []
    for path, function in called.callable:
        given = function.HasField("parameters")
        at = f"{path}.parameters"
        pieces.append(Piece(checked(function.parameters, at) if given else EMPTY_OBJECT, at, object_only=True))
    if sum(len(piece.text.encode()) for piece in pieces) > MAX_BYTES:
        raise invalid(param, f"All parameters together take at most {MAX_BYTES} bytes.")
    names = tuple(function.name for _, function in called.callable)
    return Calls(called.mode, called.most, names, tuple(pieces), param)


def _in_any_order(schema: Schema) -> Schema:
    """Leaves the order of a few arguments to the model, which may have learned another than the declared one.

    The grammar library knows objects in one order only; a model that is forced into it fills in wrong values.
    """
    members = schema.get("properties", {})
    if not 2 <= len(members) <= MOST_ORDERED or schema.keys() - _ORDERED:
        return schema
    return {"anyOf": [schema | {"properties": dict(order)} for order in permutations(members.items())]}


def _body(options: Schema, names: Sequence[str], arguments: Sequence[Schema]) -> Schema:
    """One object for each function. Definitions, whose names differ, move to the root, where references seek them."""
    definitions: Schema = {}
    calls = []
    for name, schema in zip(names, arguments, strict=True):
        definitions |= schema.get("$defs", {})
        given = _in_any_order({key: value for key, value in schema.items() if key != "$defs"})
        members = {"name": {"const": name}, "arguments": given}
        calls.append(
            {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}
        )
    return {"x-guidance": options, "anyOf": calls, "$defs": definitions}
