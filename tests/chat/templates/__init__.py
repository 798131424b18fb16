"""Chat templates like those of the model families that the product serves."""

from __future__ import annotations

from pathlib import Path

SPECIAL = dict(bos_token="<s>", eos_token="</s>")
NAMES = ("llama3", "mistral", "qwen", "gemma", "phi", "smollm", "harmony")


def source(name: str) -> str:
    """Returns the text of a template."""
    return (Path(__file__).parent / f"{name}.jinja").read_text("utf-8")
