"""A model's JSON settings, each checked as it is read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from jaxchat.errors import ModelError, safe_repr

LARGEST = sys.float_info.max
MOST = {"num_hidden_layers": 1000, "num_experts": 1024, "num_local_experts": 1024}
"""Bounds of what is counted out one by one: a damaged number must not keep the loader busy for hours."""


class HFConfigReader:
    """The keys of a `config.json`, or of an object in it. A null counts as absent, as in `transformers`.

    Every method raises ModelError naming the key, where it is absent and has no default or is of another type.
    """

    def __init__(self, raw: Mapping[str, Any], where: str = "config.json: ") -> None:
        """`where` begins every error."""
        self._raw, self._where = raw, where

    def or_else(self, defaults: Mapping[str, Any]) -> HFConfigReader:
        """The same keys, with `defaults` for those that are absent."""
        settings = {key: value for key, value in self._raw.items() if value is not None}
        return HFConfigReader({**defaults, **settings}, self._where)

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self._raw.get(key) is not None

    def integer(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        """A whole number of at least `least`, that fits 31 bits and the key's bound in `MOST`."""
        value, most = self._value(key, default), MOST.get(key, 2**31 - 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.error(key, f"must be a whole number of at least {least}")
        if value > most:
            raise self.error(key, f"must be at most {most}")
        return value

    def number(self, key: str, default: float | None = None, *, positive: bool = False) -> float:
        """A finite number from 0, or above 0 where it must be `positive`."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST:
            raise self.error(key, "must be a finite number of at least 0")
        if positive and not value:
            raise self.error(key, "must be above 0")
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """true or false."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def word(self, key: str, default: str | None = None) -> str:
        """A string."""
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self.error(key, "must be a string")
        return value

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of finite numbers, empty where the key is absent."""
        values = self._list(key)
        if not all(isinstance(value, int | float) and -LARGEST <= value <= LARGEST for value in values):
            raise self.error(key, "must be a list of finite numbers")
        return tuple(map(float, values))

    def words(self, key: str) -> tuple[str, ...]:
        """A list of strings, empty where the key is absent."""
        values = self._list(key)
        if not all(isinstance(value, str) for value in values):
            raise self.error(key, "must be a list of strings")
        return tuple(values)

    def inner(self, key: str) -> HFConfigReader:
        """An object, empty where the key is absent."""
        value = self._raw.get(key)
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            raise self.error(key, "must be an object")
        return HFConfigReader(value, f"{self._where}{key}.")

    def error(self, key: str, must: str) -> ModelError:
        """An error about the value of `key`."""
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
