"""Finds the directory of a model and reads its JSON files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxchat import bundled
from jaxchat.errors import ModelError
from jaxchat.hub import download
from jaxchat.model_diagnosis import base_of_adapter, describe_directory, describe_file, nearest_path

SINGLE, INDEX, ORBAX = "model.safetensors", "model.safetensors.index.json", "orbax.json"
GGUF = "gguf.json"
"""The manifest of a view. Each directory that can be served has it, or one of `SINGLE`, `INDEX` and `ORBAX`."""
GGUF_MAGIC = b"GGUF"
"""The first bytes of a GGUF file."""
GGUF_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
"""The name of a file that holds one of several parts of a model."""
TEXTS = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
    "config.json",
)
"""Patterns of the files that serving reads besides weights. `config.json` is the last."""
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
_MERGE = "merge it with `merge_and_unload()` of PEFT and save the result with `save_pretrained`"
_TO_SAFETENSORS = "convert it with `AutoModelForCausalLM.from_pretrained(..).save_pretrained(..)` of transformers"
_OTHER_FORMATS = (
    ("*-of-*.gguf", "it is a part of a model whose first part is missing; get all parts"),
    ("*.gguf", "it is the image encoder of a model; get the GGUF file of the model itself"),
    ("model-*-of-*.safetensors", f"shards need {INDEX}; copy it from where the model came from"),
    (
        "consolidated*",
        "the native format of Mistral and Meta is not supported; use the checkpoint in Hugging Face form",
    ),
    ("pytorch_model*", f"pickled weights are not supported; {_TO_SAFETENSORS}"),
    ("*.safetensors", f"if it has all weights of the model, rename it to {SINGLE}"),
    ("*.bin", f"pickled weights are not supported; {_TO_SAFETENSORS}"),
    ("*.pt*", f"pickled weights are not supported; {_TO_SAFETENSORS}"),
    ("*.h5", f"weights of TensorFlow are not supported; {_TO_SAFETENSORS}"),
    ("*.msgpack", f"weights of Flax are not supported; {_TO_SAFETENSORS}"),
)
"""File names of unsupported weights with advice, the most specific first."""
_LFS = b"version https://git-lfs.github.com/spec/"
_BYTE_ORDER_MARK = "\ufeff"  # editors on Windows begin files with it


def find(model: str) -> Path:
    """Returns the directory of a model: "bundled", a path, or a hub id, which is downloaded.

    GGUF files are found by `jaxchat.checkpoints.find_model`, which makes a directory from them.

    Raises:
        ModelError: the path is a file, the directory has files that prevent serving (see `check_contents`), or the hub
            cannot provide the model.
    """
    if model == "bundled":
        return bundled.path()
    directory = Path(model).expanduser()
    if directory.is_file():
        raise ModelError(f"{model}: {describe_file(model)}")
    if not directory.is_dir():
        directory = _download(model)
    check_contents(directory)
    if not (directory / "config.json").is_file():
        raise ModelError(f"{model}: {describe_directory(directory)}")
    return directory


def gguf_file(model: str) -> Path | None:
    """Returns the GGUF file `model`, or the only GGUF file in the directory `model`. Otherwise returns None.

    A file is a GGUF file if its name says so, or if its content begins as in GGUF, because Ollama names files by their
    digests.

    For a model in several parts, returns the first part. Returns None for a directory that also holds other weights
    that can be served.

    Raises:
        ModelError: a directory holds several models in GGUF files.
    """
    path = Path(model).expanduser()
    if path.is_file() and (path.suffix.lower() == ".gguf" or _begins_with(path, GGUF_MAGIC)):
        return path
    if not path.is_dir() or any((path / name).exists() for name in (SINGLE, INDEX, ORBAX, GGUF)):
        return None
    files = gguf_files(path)
    if len(files) > 1:
        raise ModelError(f"{path}: holds several GGUF files, such as {files[0].name} and {files[1].name}; name one")
    return files[0] if files else None


def gguf_files(directory: Path) -> list[Path]:
    """Returns the sorted GGUF files in a directory, without image encoders and later parts of models."""
    return sorted(path for path in directory.glob("*.gguf") if _begins_model(path))


def _begins_model(path: Path) -> bool:
    part = GGUF_PART.fullmatch(path.name)
    return not path.name.startswith("mmproj") and (part is None or int(part["number"]) == 1)


def _download(model: str) -> Path:
    nearest = nearest_path(model)
    if model.endswith(".gguf"):
        raise ModelError(f"{model}: no such file{nearest}")
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise ModelError(f"{model}: no such directory, and not a hub id of the form owner/name{nearest}")
    try:
        return download(model)
    except ModelError as error:
        raise ModelError(f"{error}{nearest}") from None


def check_contents(directory: Path) -> None:
    """Raises ModelError if files in a directory prevent serving. The message names one of them and says what to do.

    Such files are git-LFS pointers, adapters, and weights in unsupported formats where supported weights are missing.
    An empty directory passes.
    """
    paths = sorted(directory.iterdir()) if directory.is_dir() else []
    for path in paths:
        if _is_pointer(path):
            raise ModelError(f"{path}: a git-LFS pointer, not the file itself; run `git lfs pull` in {directory}")
    names = {path.name for path in paths}
    servable = not names.isdisjoint({SINGLE, INDEX, ORBAX, GGUF})
    for name in _ADAPTER:
        if name in names and servable:
            raise ModelError(f"{directory}: holds an adapter ({name}) beside the weights; {_MERGE}, or move it away")
        if name in names:
            base = base_of_adapter(directory)
            named = f" {base}" if base else ""
            raise ModelError(f"{directory}: holds an adapter ({name}) without its base model{named}; {_MERGE}")
    if servable:
        return
    for pattern, advice in _OTHER_FORMATS:
        if found := [path.name for path in paths if path.match(pattern)]:
            raise ModelError(f"{directory}: holds neither {SINGLE} nor {INDEX}, but {found[0]}; {advice}")


def _is_pointer(path: Path) -> bool:
    """Returns whether a file is a git-LFS pointer, the placeholder of a large file that was not fetched."""
    try:
        return path.is_file() and path.stat().st_size <= 1024 and _begins_with(path, _LFS)
    except OSError:
        return False


def _begins_with(path: Path, content: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(content)) == content
    except OSError:
        return False


def text_files(directory: Path) -> Iterator[Path]:
    """Yields the files of a model that serving reads besides weights, in the order of `TEXTS`."""
    for pattern in TEXTS:
        yield from sorted(directory.glob(pattern))


def model_id(model: str) -> str:
    """Returns the id under which a model is served: "jaxchat-bundled", a hub id, or the name of the directory or file.

    For a GGUF file, the id is the file's name without its ending and without the number of a part. Bytes that are not
    UTF-8 are replaced, because answers hold the id as text.
    """
    return os.fsencode(_name_of(model)).decode("utf-8", "replace")


def _name_of(model: str) -> str:
    if model == "bundled":
        return "jaxchat-bundled"
    path = Path(model).expanduser()
    if path.is_file():
        part = GGUF_PART.fullmatch(path.name)
        return part["stem"] if part else path.stem
    return path.resolve().name if path.is_dir() else model


def read_text(path: Path) -> str:
    """Returns the text of a file. Raises ModelError naming the file if it is missing, unreadable or not UTF-8."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise ModelError(f"{path}: not found") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: not UTF-8 text ({error})") from None


def read_object(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file. Raises ModelError if the file cannot be read or is not a JSON object."""
    try:
        content = json.loads(read_text(path).removeprefix(_BYTE_ORDER_MARK))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: must hold a JSON object, got {type(content).__name__}")
    return content


def read_if_there(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file, or {} if the file does not exist.

    Raises ModelError if the file cannot be read or is not a JSON object.
    """
    return read_object(path) if path.exists() else {}
