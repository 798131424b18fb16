"""Reads a model's JSON settings and checks each one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from jaxchat.errors import ModelError, safe_repr

LARGEST = sys.float_info.max
MOST = {"num_hidden_layers": 1000, "num_experts": 1024, "num_local_experts": 1024}
"""Upper bounds of counts that the loader iterates over: a damaged number must not keep it busy for hours."""


class HFConfigReader:
    """A reader of the keys of a `config.json`, or of an object in it.

    Every method that reads a value treats null as absent. Only `or_else` distinguishes null from absent. In
    `transformers`, defaults replace absent keys, whereas null switches a feature off.

    Methods that read a value raise ModelError, which names the key, if the value has another type or is out of range.
    `integer`, `number` and `word` also raise ModelError if the key is absent and the default is None.
    """

    def __init__(self, raw: Mapping[str, Any], where: str = "config.json: ") -> None:
        """Wraps the object `raw`; `where` begins every error message."""
        self._raw, self._where = raw, where

    def or_else(self, defaults: Mapping[str, Any]) -> HFConfigReader:
        """Returns a reader of the same object with `defaults` for absent keys. A key that is null stays null."""
        return HFConfigReader({**defaults, **self._raw}, self._where)

    def replaced(self, values: Mapping[str, Any]) -> HFConfigReader:
        """Returns a reader of the same object, in which `values` replace or add keys."""
        return HFConfigReader({**self._raw, **values}, self._where)

    @property
    def values(self) -> Mapping[str, Any]:
        """The keys and their unchecked values."""
        return self._raw

    def __len__(self) -> int:
        """Returns the number of keys."""
        return len(self._raw)

    def has(self, key: str) -> bool:
        """Returns whether the key is present and not null."""
        return self._raw.get(key) is not None

    def integer(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        """Returns the integer at `key`, or `default` if the key is absent.

        The integer must be at least `least`, and at most the bound of the key in `MOST`, by default 2**31 - 1.

        Raises:
            ModelError: the value is not such an integer, or the key is absent and has no default.
        """
        value, most = self._value(key, default), MOST.get(key, 2**31 - 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.error(key, f"must be a whole number of at least {least}")
        if value > most:
            raise self.error(key, f"must be at most {most}")
        return value

    def number(self, key: str, default: float | None = None, *, positive: bool = False) -> float:
        """Returns the number at `key`, or `default` if the key is absent.

        The number must be finite and at least 0, or above 0 if `positive`.

        Raises:
            ModelError: the value is not such a number, or the key is absent and has no default.
        """
        value = self._value(key, default)
        if not _is_finite(value) or value < 0:
            raise self.error(key, "must be a finite number of at least 0")
        if positive and not value:
            raise self.error(key, "must be above 0")
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """Returns the boolean at `key`, or `default` if the key is absent. Raises ModelError for another value."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def word(self, key: str, default: str | None = None) -> str:
        """Returns the string at `key`, or `default` if the key is absent.

        Raises:
            ModelError: the value is not a string, or the key is absent and has no default.
        """
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self.error(key, "must be a string")
        return value

    def numbers(self, key: str) -> tuple[float, ...]:
        """Returns the list of finite numbers at `key`, empty without the key. Raises ModelError for another value."""
        values = self._list(key)
        if not all(map(_is_finite, values)):
            raise self.error(key, "must be a list of finite numbers")
        return tuple(map(float, values))

    def words(self, key: str) -> tuple[str, ...]:
        """Returns the list of strings at `key`, empty if the key is absent. Raises ModelError for another value."""
        values = self._list(key)
        if not all(isinstance(value, str) for value in values):
            raise self.error(key, "must be a list of strings")
        return tuple(values)

    def inner(self, key: str) -> HFConfigReader:
        """Returns a reader of the object at `key`, or of an empty one if the key is absent.

        Raises ModelError for another value.
        """
        value = self._raw.get(key)
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            raise self.error(key, "must be an object")
        return HFConfigReader(value, f"{self._where}{key}.")

    def error(self, key: str, must: str) -> ModelError:
        """Returns an error that says what the value of `key` must be. `must` is a phrase such as "must be a list"."""
        return ModelError(f"{self._where}{key} {must}, got {safe_repr(self._raw.get(key))}")

    def _value(self, key: str, default: Any) -> Any:
        value = self._raw.get(key)
        if value is not None:
            return value
        if default is None:
            raise ModelError(f"{self._where}{key} is missing")
        return default

    def _list(self, key: str) -> list[Any]:
        values = self._raw.get(key)
        if values is None:
            return []
        if not isinstance(values, list):
            raise self.error(key, "must be a list")
        return values


def _is_finite(value: Any) -> bool:
    """Returns whether a JSON value is a finite number. Python counts booleans as integers, JSON does not."""
    return not isinstance(value, bool) and isinstance(value, int | float) and -LARGEST <= value <= LARGEST
