"""The small model that ships with jaxchat, as a Hugging Face directory. See `docs/bundled-model.md`."""

from __future__ import annotations

from pathlib import Path


def path() -> Path:
    """Returns the directory of the bundled model."""
    return Path(__file__).parent
