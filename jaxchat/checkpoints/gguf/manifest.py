"""The manifest of a view (see `gguf.view`): a JSON file with the path of the GGUF file.

It also holds a digest of everything that the view depends on.
"""

from __future__ import annotations

import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jaxchat.checkpoints.gguf.architectures import find_architecture
from jaxchat.checkpoints.gguf.config import ModelKeys
from jaxchat.checkpoints.gguf.file import GgufFile, open_gguf
from jaxchat.checkpoints.gguf.metadata import Metadata
from jaxchat.checkpoints.gguf.names import Origin
from jaxchat.errors import ModelError
from jaxchat.model_directory import GGUF, read_object

_FORM = 1  # version of the form of views; a new one makes older views unusable


def model_keys(file: GgufFile) -> ModelKeys:
    """Returns a reader of the metadata of a file. Raises ModelError if the file does not name its architecture."""
    metadata = Metadata(file.path, file.metadata)
    return ModelKeys(file, metadata, metadata.word("general.architecture"))


def digest(file: GgufFile) -> str:
    """Returns a digest of everything that a view depends on.

    These are jaxchat's version, and for each GGUF file the header, path, size and time of the last change.

    Raises:
        ModelError: a file has vanished.
    """
    hashed = hashlib.sha256(f"{_FORM} {version('jaxchat')}".encode())
    for path, header in zip(file.paths, file.headers, strict=True):
        try:
            status = path.stat()
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
        hashed.update(header)
        hashed.update(os.fsencode(f"{path.absolute()} {status.st_size} {status.st_mtime_ns}"))
    return hashed.hexdigest()


def manifest(file: GgufFile) -> str:
    """Returns the manifest of a view of `file`: JSON text with the path of the GGUF file and its digest.

    The path is absolute, but symbolic links in it are kept. The other parts of the file are found by its name, and the
    target of a link may have a name without the number of the part.

    Raises:
        ModelError: a file has vanished.
    """
    return json.dumps({"file": str(file.path.absolute()), "digest": digest(file)}, indent=2)


def open_view(directory: Path) -> tuple[GgufFile, dict[str, Origin]]:
    """Opens the GGUF files of a view. Returns them with the origin of each tensor, see `origins`.

    Raises:
        ModelError: the manifest is damaged, or a file is missing, damaged, or changed since the view was made.
    """
    listed: dict[str, Any] = read_object(directory / GGUF)
    path = listed.get("file")
    if not isinstance(path, str):
        raise ModelError(f"{directory / GGUF}: file must be a path, got {path!r:.200}")
    file = open_gguf(Path(path))
    if listed.get("digest") != digest(file):
        raise ModelError(f"{path}: has changed since {directory} was made from it; load the file itself")
    return file, origins(file)


def origins(file: GgufFile) -> dict[str, Origin]:
    """Returns the origins of the model's tensors by their Hugging Face names.

    Raises:
        ModelError: the architecture is not supported, or a key is missing or wrong.
    """
    keys = model_keys(file)
    renaming = find_architecture(keys).renaming
    heads = keys.integer("attention.head_count", least=1)
    kv_heads = keys.integer("attention.head_count_kv", heads, least=1)
    return renaming.origins(file.tensors, heads, kv_heads)
