"""Functions that put JSON values into protobuf messages. A table of such functions by key describes a JSON object."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jaxchat.errors import ChatError, safe_repr, unknown_parameter, unsupported
from jaxchat.openai_json import readers

Put = Callable[[Any, str, Any, str, bool], None]
"""`put(message, key, value, path, allow_unknown)` puts a JSON value into a protobuf message.

`key` is the value's key, by default also the name of the field. `path` is the value's dotted path, for errors. Raises
`ChatError` 400 if the value is not accepted.
"""
Table = Mapping[str, Put]
"""The functions for the values of a JSON object, by key."""


def fill(message: Any, body: Any, path: str, table: Table, later: frozenset[str], allow_unknown: bool) -> None:
    """Puts the values of a JSON object into a message.

    Args:
        message: the message to fill, or another object that the functions of `table` fill.
        body: the object.
        path: dotted path of the object; "" for a whole request.
        table: the functions for the keys of the object. A key with the value null is treated as absent.
        later: names of keys that are rejected as unsupported, not as unknown.
        allow_unknown: whether to ignore keys that are not in the table.

    Raises:
        ChatError: 400 if the body is not an object, a value is not accepted, or a key is rejected.
    """
    for key, value in readers.mapping(body, path).items():
        field_path = f"{path}.{key}" if path else key
        if value is None:
            continue
        if key in table:
            table[key](message, key, value, field_path, allow_unknown)
        elif not allow_unknown:
            _reject(field_path, key in later, value)


def _reject(path: str, later: bool, value: Any) -> None:
    if later:
        raise unsupported(path, f"this server does not support it, got {safe_repr(value)}.")
    raise unknown_parameter(path)


def plain(reader: readers.Reader[Any]) -> Put:
    """Returns a `Put` that sets a scalar field to the value that `reader` returns."""

    def put(message: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        setattr(message, key, reader(value, path))

    return put


def object_of(table: Table, later: frozenset[str] = frozenset()) -> Put:
    """Returns a `Put` for a field that is a message.

    Args:
        table: the functions for the keys of the object.
        later: names of keys that are rejected as unsupported, not as unknown.
    """

    def put(message: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        inner = getattr(message, key)
        inner.SetInParent()
        fill(inner, value, path, table, later, allow_unknown)

    return put


def objects_of(table: Table, later: frozenset[str] = frozenset()) -> Put:
    """Returns a `Put` for a field that is a list of messages.

    Args:
        table: the functions for the keys of each object.
        later: names of keys that are rejected as unsupported, not as unknown.
    """

    def put(message: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        for i, item in enumerate(readers.array(value, path)):
            fill(getattr(message, key).add(), item, f"{path}.{i}", table, later, allow_unknown)

    return put


def errors_at(param: str, put: Put) -> Put:
    """Returns a `Put` that calls `put`. If `put` raises an error, the error names `param` instead of an inner field."""

    def outer(message: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        try:
            put(message, key, value, path, allow_unknown)
        except ChatError as error:
            raise replace(error, param=param) from None

    return outer


@dataclass(frozen=True)
class Only:
    """A `Put` for a key that does not change what the server does. It accepts the values in `served`.

    All other values are errors, unless unknown keys are allowed.
    """

    served: tuple[Any, ...]

    def __call__(self, message: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        value = list(value) if isinstance(value, tuple) else value
        same = any(type(value) is type(other) and value == other for other in self.served)  # 0 is not false
        if not same and not allow_unknown:
            spellings = " and ".join(json.dumps(value) for value in self.served)
            raise unsupported(path, f"this server supports only {spellings}, got {safe_repr(value)}.")


def only(*served: Any) -> Only:
    """Returns a `Put` that ignores the values in `served`, and rejects all others unless unknown keys are allowed."""
    return Only(served)


def echo(reader: readers.Reader[Any]) -> Put:
    """Returns a `Put` that checks a value with `reader`, and puts it nowhere.

    It is for keys that change nothing, such as the `id` in a message of an answer that a client sends back, and for
    keys that other code reads from the JSON object itself, such as `type`.
    """

    def put(message: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        reader(value, path)

    return put
