"""Finds the directory of a model and reads its JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jaxchat import bundled
from jaxchat.errors import ModelError

_BYTE_ORDER_MARK = "\ufeff"  # editors on Windows begin files with it


def find(model: str) -> Path:
    """Returns the directory of a model: "bundled", a path, or a hub id, which is downloaded.

    Raises:
        ModelError: the directory does not exist, or the hub cannot provide it.
    """
    if model == "bundled":
        return bundled.path()
    directory = Path(model).expanduser()
    if directory.is_dir():
        return directory
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise ModelError(f"{model}: no such directory, and not a hub id of the form owner/name")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ModelError(f"{model}: fetching from the hub needs `pip install 'jaxchat[hub]'`") from None
    try:
        return Path(snapshot_download(model, allow_patterns=["*.json", "*.safetensors", "*.jinja"]))
    except Exception as error:  # the hub client raises many types, all of them failures to download
        raise ModelError(f"{model}: no such directory, and the hub did not provide it ({error})") from None


def model_id(model: str) -> str:
    """Returns the id under which a model is served: "jaxchat-bundled", a hub id, or the name of the directory."""
    if model == "bundled":
        return "jaxchat-bundled"
    directory = Path(model).expanduser()
    return directory.resolve().name if directory.is_dir() else model


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
    """Returns the JSON object in a file. Raises ModelError as `read_text` does, or if the text is not a JSON object."""
    try:
        content = json.loads(read_text(path).removeprefix(_BYTE_ORDER_MARK))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: must hold a JSON object, got {type(content).__name__}")
    return content


def read_if_there(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file, or {} if the file does not exist. Raises ModelError as `read_object` does."""
    return read_object(path) if path.exists() else {}
