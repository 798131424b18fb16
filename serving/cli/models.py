"""List models that can be served: the bundled one and those in the given directories."""

from __future__ import annotations

import argparse
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from jaxchat.errors import ModelError, safe_repr
from jaxchat.model_directory import gguf_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    text = "a model directory (with config.json), or a directory of model directories and GGUF files"
    parser.add_argument("directories", nargs="*", type=Path, metavar="DIRECTORY", help=text)


def run(args: argparse.Namespace) -> int:
    """Prints one line per model and returns 0. Raises `ModelError` for a directory without a model or with bad JSON."""
    bundled = Path(str(files("jaxchat") / "bundled"))
    rows = [("bundled", bundled)] if (bundled / "config.json").is_file() else []
    for directory in args.directories:
        rows += [(str(path), path) for path in _models_in(directory)]
    width = max((len(name) for name, _ in rows), default=0)
    for name, path in rows:
        print(f"{name:<{width}}  {_facts(path)}")
    return 0


def _models_in(directory: Path) -> list[Path]:
    configs = directory / "config.json", *sorted(directory.glob("*/config.json"))
    models = [path.parent for path in configs if path.is_file()]
    models += [path for folder in (directory, *_folders(directory)) for path in gguf_files(folder)]
    if not models:
        raise ModelError(f"{directory}: no config.json or GGUF file here or one level below")
    return models


def _folders(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("*") if path.is_dir())


def _facts(path: Path) -> str:
    if path.is_file():
        return f"GGUF, {path.stat().st_size / 1e6:.1f} MB"
    try:
        config: Any = json.loads((path / "config.json").read_text("utf-8"))
    except ValueError as error:
        raise ModelError(f"{path / 'config.json'}: {error}") from None
    if not isinstance(config, dict):
        raise ModelError(f"{path / 'config.json'}: expected an object, got {safe_repr(config)}")
    names = config.get("architectures")
    facts = [", ".join(map(str, names)) if names and isinstance(names, list) else "unknown architecture"]
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
