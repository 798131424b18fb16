"""Reads the metadata of a GGUF file, checks each value, and remembers which keys were read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxchat.errors import ModelError, safe_repr


class Metadata:
    """A reader of the metadata of a file.

    Methods that read a value raise ModelError if the value has another type or is out of range. They also raise
    ModelError if the key is absent and has no default. The message names the file and the key.

    Args:
        path: the file, for errors.
        values: the metadata by key.
    """

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        """Wraps the metadata of the file `path`."""
        self._path, self._values = path, values
        self._read: set[str] = set()

    def has(self, key: str) -> bool:
        """Returns whether the key is present."""
        return key in self._values

    def integer(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        """Returns the whole number at `key`, which must be at least `least`, or `default` if the key is absent.

        If the value is an array of equal numbers, returns that number. Raises ModelError if the numbers differ.
        """
        value = self._get(key, default)
        if isinstance(value, np.ndarray) and value.size and value.dtype.kind in "iu":
            if (value != value[0]).any():
                raise self.error(key, "must be the same for all layers")
            value = int(value[0])
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.error(key, f"must be a whole number of at least {least}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Returns the finite number at `key`, or `default` if the key is absent. Raises ModelError for other values.

        An f32 number becomes the shortest decimal that rounds to it, such as 1e-05.
        """
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise self.error(key, "must be a finite number")
        return float(str(np.float32(value))) if np.float32(value) == value else float(value)

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Returns the boolean at `key`, or `default` if the key is absent. Raises ModelError for other values."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def word(self, key: str, default: str | None = None) -> str:
        """Returns the string at `key`, or `default` if the key is absent. Raises ModelError for other values."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self.error(key, "must be a string")
        return value

    def words(self, key: str) -> list[str]:
        """Returns the list of strings at `key`, empty if the key is absent.

        Raises ModelError for a value that is not a list.
        """
        value = self._get(key, [])
        if not isinstance(value, list):
            raise self.error(key, "must be a list of strings")
        return value

    def numbers(self, key: str, kinds: str = "iu") -> np.ndarray | None:
        """Returns the array at `key`, with one axis, or None if the key is absent. Raises ModelError for other values.

        Args:
            key: the key.
            kinds: letters of `numpy.dtype.kind` that the array may have.
        """
        value = self._get(key, np.zeros(0, np.int32))
        if not isinstance(value, np.ndarray) or (value.size and value.dtype.kind not in kinds):
            raise self.error(key, "must be an array of numbers")
        return value if self.has(key) else None

    def value(self, key: str) -> Any:
        """Returns the unchecked value at `key`. Raises ModelError if the key is absent."""
        return self._get(key, None)

    def ignore(self, *keys: str) -> None:
        """Marks keys that do not change the model, so that they count as read."""
        self._read.update(keys)

    def unread(self, prefix: str) -> list[str]:
        """Returns the keys that begin with `prefix` and were not read, sorted."""
        return sorted(key for key in self._values.keys() - self._read if key.startswith(prefix))

    def error(self, key: str, must: str) -> ModelError:
        """Returns an error that says what the value of `key` must be. `must` is a phrase such as "must be a string"."""
        return ModelError(f"{self._path}: key {key} {must}, got {safe_repr(self._values.get(key))}")

    def _get(self, key: str, default: Any) -> Any:
        self._read.add(key)
        if key in self._values:
            return self._values[key]
        if default is None:
            raise ModelError(f"{self._path}: key {key} is missing")
        return default
