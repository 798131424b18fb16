"""Parses the header of one GGUF file: its metadata, and the place of each tensor.

A header consists of magic, version, counts, key-value pairs and descriptions of tensors, all little-endian. The data of
the tensors follow, from the next multiple of the alignment on.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxchat.checkpoints.gguf.tensor_types import TensorType, tensor_type
from jaxchat.errors import ModelError, safe_repr
from jaxchat.model_directory import GGUF_MAGIC

VERSIONS = (2, 3)
ALIGNMENT = "general.alignment"
_DEFAULT_ALIGNMENT = 32
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")
_MOST_AXES = 4


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a GGUF file."""

    name: str
    shape: tuple[int, ...]  # outermost axis first, as in NumPy; the file has the reverse order
    type: TensorType
    path: Path
    offset: int  # of its data in the file, in bytes

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.type.bytes_of(math.prod(self.shape))


@dataclass(frozen=True)
class Header:
    """The parsed header of one GGUF file.

    In `metadata`, an array of numbers is a NumPy array, and an array of strings is a list of str.
    """

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, StoredTensor]
    content: bytes  # the bytes of the header


def read_header(path: Path) -> Header:
    """Parses the header of a file.

    Raises:
        ModelError: the file cannot be read, is not a GGUF file of a supported version, or is damaged. The message
            names the file, and the key or tensor at fault.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Parser(path, data).parse()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:  # an empty file cannot be mapped
        raise ModelError(f"{path}: not a GGUF file, it is empty") from None


class _Parser:
    """A parser at a position in a mapped file."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path, self._data, self._at = path, data, 0
        self._place = "header"  # what is being read, for errors

    def parse(self) -> Header:
        tensor_count, key_count = self._start()
        metadata: dict[str, Any] = {}
        for index in range(key_count):
            self._place = f"key {index} of {key_count}"
            key = self._string()
            if key in metadata:
                raise self._error(f"key {key} occurs twice")
            self._place = f"key {key}"
            metadata[key] = self._value(self._scalar("I"))
        descriptions = [self._description(f"tensor {index} of {tensor_count}") for index in range(tensor_count)]
        end = self._at
        start = -(-end // (alignment := self._alignment(metadata))) * alignment
        tensors: dict[str, StoredTensor] = {}
        for name, shape, kind, offset in descriptions:
            if name in tensors:
                raise self._error(f"tensor {name} occurs twice")
            if offset % alignment:
                raise self._error(f"tensor {name} begins at {offset}, which is not a multiple of {alignment}")
            tensors[name] = StoredTensor(name, shape, kind, self._path, start + offset)
        self._check_places(tensors.values())
        return Header(self._path, metadata, tensors, self._data[:end])

    def _start(self) -> tuple[int, int]:
        """Reads magic, version and counts. Returns the number of tensors and the number of keys.

        Raises:
            ModelError: the file is not a GGUF file of a supported version, or is damaged.
        """
        magic = self._data[: len(GGUF_MAGIC)]
        if magic != GGUF_MAGIC:
            raise self._error(f"not a GGUF file, it begins with {safe_repr(magic)}")
        self._at = len(GGUF_MAGIC)
        version = self._scalar("I")
        if version not in VERSIONS:
            if version & 0xFFFF == 0:  # a small number in the other byte order
                raise self._error("is big-endian, which is not supported; convert the model for little-endian machines")
            raise self._error(f"has version {version} of GGUF, supported: {', '.join(map(str, VERSIONS))}")
        counts = self._scalar("Q"), self._scalar("Q")
        for count, kind in zip(counts, ("tensors", "keys"), strict=True):
            if count > len(self._data):
                raise self._error(f"claims {count} {kind}, more than it has bytes")
        return counts

    def _description(self, place: str) -> tuple[str, tuple[int, ...], TensorType, int]:
        self._place = place
        name = self._string()
        self._place = f"tensor {name}"
        axes = self._scalar("I")
        if not 1 <= axes <= _MOST_AXES:
            raise self._error(f"tensor {name} must have 1 to {_MOST_AXES} axes, got {axes}")
        shape = tuple(self._scalar("Q") for _ in range(axes))[::-1]
        try:
            kind = tensor_type(self._scalar("I"))
        except ModelError as error:
            raise self._error(f"tensor {name}: {error}") from None
        if min(shape) < 1 or shape[-1] % kind.values:
            raise self._error(
                f"tensor {name} has shape {shape}, but rows of {kind.name} are multiples of {kind.values}"
            )
        return name, shape, kind, self._scalar("Q")

    def _alignment(self, metadata: dict[str, Any]) -> int:
        alignment = metadata.get(ALIGNMENT, _DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment % 8:
            raise self._error(f"key {ALIGNMENT} must be a multiple of 8, got {safe_repr(alignment)}")
        return alignment

    def _check_places(self, tensors: Iterable[StoredTensor]) -> None:
        """Raises ModelError if a tensor reaches beyond the end of the file or into another tensor."""
        before, end = "", 0
        for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
            if tensor.offset < end:
                raise self._error(f"tensors {before} and {tensor.name} overlap")
            before, end = tensor.name, tensor.offset + tensor.size
            if end > len(self._data):
                raise self._error(
                    f"tensor {before} ends at byte {end}, but the file has {len(self._data)}; it is incomplete"
                )

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array()
        if kind not in _SCALARS:
            raise self._error(f"{self._place} has the unknown type {kind}")
        return self._scalar(_SCALARS[kind])

    def _array(self) -> Any:
        kind, count = self._scalar("I"), self._scalar("Q")
        if kind == _STRING:
            return self._strings(count)
        if kind not in _SCALARS:
            raise self._error(f"{self._place} is an array of the unknown type {kind}")
        dtype = np.dtype(_SCALARS[kind]).newbyteorder("<")
        start = self._take(count * dtype.itemsize)
        return np.frombuffer(self._data[start : self._at], dtype)

    def _strings(self, count: int) -> list[str]:
        """Reads `count` strings in one loop.

        A call for each string would be slow, because a vocabulary has some hundred thousand strings.
        """
        data, at, unpack = self._data, self._at, _LENGTH.unpack_from
        texts: list[bytes] = []
        if count * _LENGTH.size > len(data) - at:
            raise self._error(f"{self._place} claims {count} strings, but the file ends before")
        append, size = texts.append, len(data)
        try:
            for _ in range(count):
                (length,) = unpack(data, at)
                at += 8 + length
                if at > size:
                    raise self._error(f"ends in {self._place}, string {len(texts)} of {count}; it is incomplete")
                append(data[at - length : at])
            self._at = at
            return [str(text, "utf-8") for text in texts]
        except struct.error:
            raise self._error(f"ends in {self._place}, string {len(texts)} of {count}; it is incomplete") from None
        except UnicodeDecodeError as error:
            raise self._error(f"{self._place} holds {safe_repr(error.object)}, which is not UTF-8") from None

    def _string(self) -> str:
        start = self._take(self._scalar("Q"))
        try:
            return str(self._data[start : self._at], "utf-8")
        except UnicodeDecodeError:
            raise self._error(f"{self._place} holds a string that is not UTF-8") from None

    def _scalar(self, code: str) -> Any:
        form = struct.Struct(f"<{code}")
        (value,) = form.unpack_from(self._data, self._take(form.size))
        return value

    def _take(self, size: int) -> int:
        """Skips `size` bytes and returns the position of the first one. Raises ModelError if the file ends before."""
        start = self._at
        if size > len(self._data) - start:
            raise self._error(f"ends in {self._place}; it is incomplete")
        self._at = start + size
        return start

    def _error(self, message: str) -> ModelError:
        return ModelError(f"{self._path}: {message}")
