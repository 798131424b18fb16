"""The base of every configuration: settings with help texts, checked when the object is constructed."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

RENAMED = {
    "chunk": "prefill_chunk",
    "context": "max_seq_len",
    "decode_shapes": "decode_buckets",
    "grace": "shutdown_grace",
    "greeting": "startup_prompt",
    "max_held": "max_buffered_bytes",
    "max_seconds": "request_timeout",
    "pod_timeout": "multihost_timeout",
    "prefill_chunks": "prefill_buckets",
    "products": "cpu_matmul",
    "queue": "max_queued",
    "tool_syntax": "tool_format",
}
"""New names by old name, for one release: an old name is refused with a message that names the new one."""
RENAMED_VALUES = {("attention", "plain"): "'xla'", ("cache_dir", "off"): "None", ("quantize", "none"): "None"}
"""New values by setting and old value, for one release: an old value is refused, and the message has the new one."""


def setting(
    default: Any,
    text: str,
    *,
    metavar: str | None = None,
    default_text: str | None = None,
    least: float | None = None,
    most: float | None = None,
) -> Any:
    """Declares a field of a configuration. The command line makes its flag from the same metadata.

    Args:
        default: the value of a setting that is not given.
        text: help text of the flag.
        metavar: the kind of the flag's value, such as FILE, HOST:PORT or SECONDS.
        default_text: describes the default in the help text where the value alone does not.
        least: smallest number allowed.
        most: largest number allowed. Needs `least`.
    """
    metadata = {"help": text, "metavar": metavar, "default_text": default_text}
    return field(default=default, metadata=metadata | {"least": least, "most": most})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A configuration whose values are checked when it is constructed.

    Converts values to the declared type of the setting: lists to tuples, integers to floats, and paths to strings.

    Raises:
        TypeError: a setting does not exist, or its value has the wrong type.
        ValueError: a value is not allowed.
    """

    def __new__(cls, *_: Any, **settings: Any) -> Self:
        check_names(settings, [each.name for each in fields(cls)])
        return super().__new__(cls)

    def __post_init__(self) -> None:
        kinds = setting_types(type(self))
        for each in fields(self):
            name, value = each.name, getattr(self, each.name)
            object.__setattr__(self, name, _Check(name, kinds[name], each.metadata)(value))
        self.validate()

    def validate(self) -> None:
        """Checks rules that concern several settings. Raises ValueError if a rule is broken."""


def check_names(names: Iterable[str], known: Collection[str]) -> None:
    """Raises TypeError for the first name that is not a known setting.

    The message suggests the new or nearest name, or lists all known names.
    """
    for name in names:
        if name not in known:
            hint = advice(name, known) or f": there are {', '.join(map(repr, known))}"
            raise TypeError(f"unknown setting {name!r}{hint}")


def advice(name: str, known: Collection[str], spell: Callable[[str], str] = repr) -> str:
    """Returns text that completes a message about an unknown setting.

    The text suggests the setting's new name if it was renamed, otherwise the most similar known name. It is "" if there
    is neither.

    Args:
        name: the unknown name.
        known: the names of all settings.
        spell: formats the suggested name for the message, for example as a flag.
    """
    if (new := RENAMED.get(name)) in known:
        return f": it is now {spell(str(new))}"
    if nearest := get_close_matches(name, known, n=1):
        return f": did you mean {spell(nearest[0])}?"
    return ""


def setting_types(config: type) -> dict[str, Any]:
    """Returns the declared types of the settings of `config` by name."""
    return get_type_hints(config)


def without_none(kind: Any) -> tuple[Any, bool]:
    """Returns a declared type without None, and whether None is allowed."""
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    (rest,) = (member for member in members if member is not NoneType)
    return rest, NoneType in members


class _Check:
    """A converter and checker for the value of one setting."""

    def __init__(self, name: str, kind: Any, metadata: Any) -> None:
        self._name, self._metadata = name, metadata
        self._kind, self._optional = without_none(kind)

    def __call__(self, value: Any) -> Any:
        if value is None and self._optional:
            return None
        if isinstance(value, str) and (new := RENAMED_VALUES.get((self._name, value))):
            raise ValueError(f"{self._name} {value!r} is now {new}")
        if get_origin(self._kind) is not tuple:
            return self._one(self._kind, value)
        if not isinstance(value, list | tuple):
            raise TypeError(self._message("a tuple", value))
        each = _Check(f"each of {self._name}", get_args(self._kind)[0], self._metadata)
        return tuple(map(each, value))

    def _one(self, kind: Any, value: Any) -> Any:
        if get_origin(kind) is Literal:
            return self._named(get_args(kind), value)
        try:
            value = _CONVERTERS[kind](value)
        except TypeError:
            raise TypeError(self._message(_NOUNS[kind], value)) from None
        if value == "":
            raise ValueError(self._message("a non-empty string", value))
        if kind in (int, float):
            self._bounds(value)
        return value

    def _named(self, names: Collection[str], value: Any) -> str:
        if isinstance(value, str) and value in names:
            return value
        *others, last = map(repr, names)
        raise ValueError(self._message(f"{', '.join(others)} or {last}" if others else last, value))

    def _bounds(self, value: float) -> None:
        least, most = self._metadata["least"], self._metadata["most"]
        if least is not None and most is not None and not least <= value <= most:
            raise ValueError(self._message(f"from {least} to {most}", value))
        if least is not None and value < least:
            raise ValueError(self._message(f"at least {least}", value))
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(self._message("a finite number", value))

    def _message(self, allowed: str, value: Any) -> str:
        return f"{self._name} must be {allowed}{' or None' if self._optional else ''}, got {value!r}"


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)  # takes NumPy's integers too


def _number(value: Any) -> float:
    if isinstance(value, bool | str | bytes):
        raise TypeError
    return float(value)


def _string(value: Any) -> str:
    if not isinstance(text := os.fspath(value), str):
        raise TypeError
    return text


_CONVERTERS: dict[Any, Callable[[Any], Any]] = {bool: _boolean, int: _integer, float: _number, str: _string}
_NOUNS = {bool: "True or False", int: "an integer", float: "a number", str: "a string"}
