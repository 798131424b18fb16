"""List models that can be served: the bundled one and those in the given directories."""

from __future__ import annotations

import argparse
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from jaxchat.errors import ModelError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    text = "a model directory (with config.json), or a directory of model directories"
    parser.add_argument("directories", nargs="*", type=Path, metavar="DIRECTORY", help=text)


def run(args: argparse.Namespace) -> int:
    """Prints one line per model and returns 0. Raises `ModelError` if a directory has no model, or invalid JSON."""
    bundled = Path(str(files("jaxchat") / "bundled"))
    rows = [("bundled", bundled)] if (bundled / "config.json").is_file() else []
    for directory in args.directories:
        rows += [(str(path), path) for path in _models_in(directory)]
    width = max((len(name) for name, _ in rows), default=0)
    for name, path in rows:
        print(f"{name:<{width}}  {_facts(path)}")
    return 0


def _models_in(directory: Path) -> list[Path]:
    models = [
        path.parent for path in (directory / "config.json", *sorted(directory.glob("*/config.json"))) if path.is_file()
    ]
    if not models:
        raise ModelError(f"{directory}: no config.json here or one level below")
    return models


def _facts(path: Path) -> str:
    try:
        config: dict[str, Any] = json.loads((path / "config.json").read_text("utf-8"))
    except ValueError as error:
        raise ModelError(f"{path / 'config.json'}: {error}") from None
    facts = [", ".join(config.get("architectures") or ["unknown architecture"])]
    for key, label in (
        ("num_hidden_layers", "layers"),
        ("hidden_size", "wide"),
        ("vocab_size", "tokens in the vocabulary"),
        ("max_position_embeddings", "tokens of context"),
    ):
        if key in config:
            facts.append(f"{config[key]} {label}")
    size = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    return ", ".join([*facts, f"{size / 1e6:.1f} MB of weights"])
