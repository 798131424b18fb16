"""The small model that ships with jaxchat, as a Hugging Face folder; see `docs/bundled-model.md`."""

from __future__ import annotations

from pathlib import Path


def path() -> Path:
    """The folder of the bundled model."""
    return Path(__file__).parent
