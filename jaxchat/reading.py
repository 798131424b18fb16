"""The JSON files of a model directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jaxchat.errors import ModelError


def read_text(path: Path) -> str:
    """The text of a file. Raises ModelError naming it, where it is missing, unreadable or not UTF-8."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise ModelError(f"{path}: not found") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: not UTF-8 text ({error})") from None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises ModelError as `read_text` does, and where the text is no such object."""
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(found, dict):
        raise ModelError(f"{path}: must hold a JSON object, got {type(found).__name__}")
    return found


def read_if_there(path: Path) -> dict[str, Any]:
    """As `read_object`, but empty where there is no such file."""
    return read_object(path) if path.exists() else {}
