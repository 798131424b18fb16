"""Parses JSON without guessing: NaN, infinities and keys that an object has twice are errors."""

from __future__ import annotations

import json
from typing import Any

from jaxchat.errors import invalid_json, reject_constant, repeated_key, safe_repr


class RepeatedKeyError(ValueError):
    """The error of an object that has the same key twice. `path` is that key's place, as in `tools.0.type`."""

    def __init__(self, path: str) -> None:
        super().__init__(f"the key {path!r} occurs twice")
        self.path = path


def json_object(data: bytes, holder: str) -> dict[str, Any]:
    """Parses a JSON object that is written in UTF-8, with or without a byte order mark.

    Args:
        data: the bytes of the object.
        holder: the thing that contains the bytes, as error messages name it, such as "The body".

    Raises:
        ChatError: 400 if the bytes are not UTF-8 or not a JSON object, or if an object has a key twice.
    """
    try:
        value = parse_json(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise invalid_json(f"{holder} is not valid UTF-8.") from None
    except RepeatedKeyError as error:
        raise repeated_key(error.path) from None
    except ValueError as error:
        raise invalid_json(f"{holder} is not valid JSON: {safe_repr(str(error))}.") from None
    if not isinstance(value, dict):
        raise invalid_json(f"{holder} must be a JSON object, got {safe_repr(value)}.")
    return value


def parse_json(text: str) -> Any:
    """Returns the value of a JSON text.

    Raises:
        RepeatedKeyError: an object has a key twice.
        ValueError: the text is not JSON, has a number of thousands of digits, or is nested too deep to read.
    """
    repeated: dict[int, tuple[str, Any]] = {}  # by id, with the objects themselves, so that ids stay unique

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            repeated[id(value)] = _first_repeated(pairs), value
        return value

    try:
        value = json.loads(text, parse_constant=reject_constant, parse_int=_integer, object_pairs_hook=members)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if repeated:
        raise RepeatedKeyError(_path_to(value, {key: name for key, (name, _) in repeated.items()}))
    return value


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # Python limits the digits, because reading them takes quadratic time
        raise ValueError(f"a number has {len(digits)} digits") from None


def _first_repeated(pairs: list[tuple[str, Any]]) -> str:
    keys: set[str] = set()
    for key, _ in pairs:
        if key in keys:
            return key
        keys.add(key)
    raise AssertionError("no key occurs twice")


def _path_to(root: Any, repeated: dict[int, str]) -> str:
    """Returns the dotted path of the first repeated key in `root`, such as `tools.0.type`.

    Args:
        root: the parsed value.
        repeated: the key that an object has twice, by the `id()` of the object. At least one of these objects is in
            `root`. Others may be lost: from `{"a": {"b": 1, "b": 2}, "a": 3}`, Python keeps only `{"a": 3}`.
    """
    waiting = [("", root)]
    while waiting:
        path, value = waiting.pop()
        if id(value) in repeated:
            return path + repeated[id(value)]
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        waiting += [(f"{path}{name}.", inner) for name, inner in reversed(list(items))]
    raise AssertionError("the repeated key is not part of the value")
