"""Shows a GGUF file as a model directory in Hugging Face form. The weights stay in the file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxchat.cache import keep, scratch_folder
from jaxchat.checkpoints.gguf.architectures import find_architecture
from jaxchat.checkpoints.gguf.config import ModelKeys, check_all_read
from jaxchat.checkpoints.gguf.file import GgufFile, open_gguf
from jaxchat.checkpoints.gguf.manifest import digest, manifest, model_keys
from jaxchat.checkpoints.gguf.metadata import Metadata
from jaxchat.checkpoints.gguf.tokenizer import make_tokenizer
from jaxchat.checkpoints.gguf.vocabulary import named_ids, read_vocabulary, stop_ids
from jaxchat.config import AUTO
from jaxchat.errors import ModelError
from jaxchat.model_directory import GGUF

_TEMPLATE = "tokenizer.chat_template"
_FOLDER = "gguf"  # in the cache folder
_CONFIG, _TOKENIZER = "config.json", "tokenizer.json"
_SPECIAL, _GENERATION = "tokenizer_config.json", "generation_config.json"


def view(path: Path, cache_dir: str | None = AUTO) -> Path:
    """Returns a directory with the configuration, tokenizer and chat template of a GGUF file.

    The directory is in the cache folder. It is made once for each file, and again when the file changes or a part of
    the directory is missing. If `cache_dir` is None, each call makes it in a new temporary folder, which lasts as long
    as the process.

    Args:
        path: the file, or the first of its parts.
        cache_dir: as in `jaxchat.cache.cache_folder`.

    Raises:
        ModelError: the file is damaged or not supported, or the directory cannot be written.
        OSError: `cache_dir` is a path that cannot be created or written, or no temporary folder can be made.
        ValueError: `cache_dir` is empty.
    """
    file = open_gguf(path)
    find_architecture(model_keys(file))  # before the template, which models that do not chat lack
    directory = scratch_folder(cache_dir) / _FOLDER / digest(file)[:32]
    if all((directory / name).is_file() for name in _names(file)):
        return directory
    texts = dict(_texts(file))
    try:
        for name, text in texts.items():  # each appears as a whole, and other processes write the same
            keep(directory / name, text.encode())
        time = path.stat().st_mtime
        os.utime(directory / _CONFIG, (time, time))  # the time at which the API says that the model was made
    except OSError as error:
        raise ModelError(f"{directory}: cannot be written ({error.strerror})") from None
    return directory


def read_gguf_config(path: Path) -> dict[str, Any]:
    """Returns the object in the `config.json` of a file's view, without making the view.

    Raises ModelError as `view` does.
    """
    return _config(model_keys(open_gguf(path)))


def _config(keys: ModelKeys) -> dict[str, Any]:
    config = find_architecture(keys).config(keys)
    check_all_read(keys)
    return config


def _names(file: GgufFile) -> list[str]:
    """Returns the names of the files that a complete view has. A cleaner of the cache folder may have removed some."""
    templates = [name for name, _ in _templates(file, model_keys(file).metadata)]
    return [_CONFIG, _TOKENIZER, _SPECIAL, _GENERATION, *templates, GGUF]


def _texts(file: GgufFile) -> Iterator[tuple[str, str]]:
    """Yields the names and texts of the files of a view."""
    keys = model_keys(file)
    metadata = keys.metadata
    config = _config(keys)
    vocabulary = read_vocabulary(metadata)
    named = named_ids(metadata, vocabulary)
    yield _CONFIG, _json(config)
    yield _TOKENIZER, make_tokenizer(file.path, metadata, keys.architecture)
    yield _SPECIAL, _json({name: vocabulary.tokens[id_] for name, id_ in named.items()})
    yield _GENERATION, _json({"eos_token_id": stop_ids(metadata, vocabulary)})
    yield from _templates(file, metadata)
    yield GGUF, manifest(file)


def _templates(file: GgufFile, metadata: Metadata) -> Iterator[tuple[str, str]]:
    """Yields the file name and text of the chat template, and of further templates that have a name.

    Raises ModelError if the chat template is missing.
    """
    if not metadata.has(_TEMPLATE):
        raise ModelError(f"{file.path}: key {_TEMPLATE} is missing, so it cannot chat")
    yield "chat_template.jinja", metadata.word(_TEMPLATE)
    for key in file.metadata:
        name = key.removeprefix(f"{_TEMPLATE}.")
        if name != key and name.isidentifier():
            yield f"additional_chat_templates/{name}.jinja", metadata.word(key)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
