"""Opens a model in one GGUF file or in several parts, `name-00001-of-00003.gguf` and so on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxchat.checkpoints.gguf.header import Header, StoredTensor, read_header
from jaxchat.errors import ModelError, safe_repr
from jaxchat.model_directory import GGUF_PART

_NUMBER, _COUNT, _TENSORS = "split.no", "split.count", "split.tensors.count"


@dataclass(frozen=True)
class GgufFile:
    """The headers of all parts of a model."""

    path: Path  # of the first part
    paths: tuple[Path, ...]
    metadata: dict[str, Any]  # of the first part
    tensors: dict[str, StoredTensor]  # of all parts
    headers: tuple[bytes, ...]  # of the parts, in order


def open_gguf(path: Path) -> GgufFile:
    """Reads the headers of a model, given its file or the first of its parts.

    Raises:
        ModelError: a part is missing, damaged or not of this model, or `path` is a part other than the first.
    """
    first = read_header(path)
    count = first.metadata.get(_COUNT, 1)
    if not isinstance(count, int) or not 0 <= count <= 99_999:
        raise ModelError(f"{path}: key {_COUNT} must be a whole number up to 99999, got {safe_repr(count)}")
    if count <= 1:
        return GgufFile(path, (path,), first.metadata, first.tensors, (first.content,))
    headers = [first, *(read_header(part) for part in _other_parts(path, first, count))]
    tensors: dict[str, StoredTensor] = {}
    for number, header in enumerate(headers):
        actual = header.metadata.get(_NUMBER), header.metadata.get(_COUNT)
        if actual != (number, count):
            raise ModelError(
                f"{header.path}: keys {_NUMBER} and {_COUNT} must be {number} and {count}, got "
                f"{safe_repr(actual[0])} and {safe_repr(actual[1])}"
            )
        if repeated := tensors.keys() & header.tensors.keys():
            raise ModelError(f"{header.path}: tensor {min(repeated)} is in another part too")
        tensors |= header.tensors
    _check_count(path, first, tensors)
    contents = tuple(header.content for header in headers)
    return GgufFile(path, tuple(header.path for header in headers), first.metadata, tensors, contents)


def _other_parts(path: Path, first: Header, count: int) -> list[Path]:
    """Returns the files of all parts after the first. Raises ModelError if a file is missing."""
    name = GGUF_PART.fullmatch(path.name)
    if first.metadata.get(_NUMBER) != 0:
        raise ModelError(f"{path}: is not the first of {count} parts; name the file that ends in -00001-of-{count:05}")
    if name is None or (int(name["number"]), int(name["count"])) != (1, count):
        raise ModelError(f"{path}: is the first of {count} parts, so its name must end in -00001-of-{count:05}.gguf")
    parts = [path.with_name(f"{name['stem']}-{number:05}-of-{count:05}.gguf") for number in range(2, count + 1)]
    for part in parts:
        if not part.is_file():
            raise ModelError(f"{part}: not found, though {path.name} is the first of {count} parts")
    return parts


def _check_count(path: Path, first: Header, tensors: dict[str, StoredTensor]) -> None:
    expected = first.metadata.get(_TENSORS, len(tensors))
    if expected != len(tensors):
        raise ModelError(f"{path}: key {_TENSORS} is {safe_repr(expected)}, but the parts hold {len(tensors)} tensors")
