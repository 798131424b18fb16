"""Compares models in GGUF files with the checkpoints that llama.cpp converted to them, for every family.

    python -m tools.parity.gguf LLAMA_CPP

LLAMA_CPP is a copy of llama.cpp's repository. Its scripts convert small random checkpoints that `transformers` writes.
Prints a line for each family: whether its parameters are equal bit for bit, and which settings of the model differ.
Some settings always differ, because GGUF files do not store them.

The exit status is 1 if nothing was compared, or if a parameter differs by more than 1e-6. The norms of Gemma differ by
less, because the conversion rounds them.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxchat.checkpoints.gguf.file import open_gguf
from jaxchat.checkpoints.gguf.manifest import manifest
from jaxchat.checkpoints.gguf.view import read_gguf_config
from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.checkpoints.stored_config import read_stored_config
from jaxchat.errors import ModelError
from jaxchat.models.config import ModelConfig
from tools.parity import checkpoints

ROUNDED = 1e-6  # of 1 + w, from which 1 is subtracted again
CHANGES: dict[str, dict[str, Any]] = {
    "hunyuan": dict(max_position_embeddings=32_768),  # the only one that the conversion takes
    "qwen 2 with experts": dict(mlp_only_layers=[]),
    "qwen 3 with experts": dict(mlp_only_layers=[]),
}
"""Changes of configurations that the conversion needs."""


def convert(directory: Path, target: Path) -> None:
    """Converts a checkpoint with the scripts of llama.cpp, and raises the exceptions that they raise.

    Args:
        directory: the checkpoint that `write` has written.
        target: the GGUF file to write.
    """
    import conversion  # of llama.cpp
    import gguf

    def set_vocab(model: Any) -> None:
        size = model.hparams["vocab_size"]
        model.gguf_writer.add_tokenizer_model("gpt2")
        model.gguf_writer.add_token_list([f"t{index}" for index in range(size)])

    architecture = json.loads((directory / "config.json").read_text())["architectures"][0]
    converter = conversion.get_model_class(architecture)
    converter.set_vocab = set_vocab  # the small checkpoints have no tokenizer
    model = converter(directory, gguf.LlamaFileType.ALL_F32, target, eager=True)
    if hasattr(model, "impl"):
        type(model.impl).set_vocab = set_vocab
    model.write()


def write(directory: Path, case: str) -> None:
    """Writes the checkpoint of a case, with the files and keys that the conversion looks for.

    Args:
        directory: the model directory to write.
        case: the key in `CASES` of `tools.parity.checkpoints`.
    """
    kind, changes = checkpoints.CASES[case]
    checkpoints.write_model(directory, kind, **{**changes, **CHANGES.get(case, {})})
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rotary_pct": 1.0}))
    vocab = {f"t{index}": index for index in range(checkpoints.VOCAB)}
    (directory / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab}, "added_tokens": []}))


def view_of(path: Path, directory: Path) -> Path:
    """Writes a model directory that refers to a GGUF file and has neither tokenizer nor chat template.

    Args:
        path: the GGUF file.
        directory: the directory to write, which must not exist. It is also the result.
    """
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(read_gguf_config(path)))
    (directory / "gguf.json").write_text(manifest(open_gguf(path)))
    return directory


def settings(first: ModelConfig, second: ModelConfig) -> list[str]:
    """Returns the names of the settings in which two models differ."""
    names = (field.name for field in fields(ModelConfig))
    return [name for name in names if getattr(first, name) != getattr(second, name)]


def difference(first: Path, second: Path) -> tuple[float, list[str]]:
    """Returns the largest absolute difference between parameters of two models, and the names of differing settings.

    Args:
        first: directory of a model.
        second: directory of the other model.

    Raises:
        ModelError: one of the directories cannot be served.
    """
    configs = [read_stored_config(directory) for directory in (first, second)]
    params = (load_hf(directory, config)[0] for directory, config in zip((first, second), configs, strict=True))
    far = jax.tree.map(lambda one, other: float(np.abs(np.asarray(one) - np.asarray(other)).max()), *params)
    return max(jax.tree.leaves(far)), settings(*configs)


def compared(case: str, folder: Path) -> Iterator[float]:
    """Compares one case and prints the result. Yields the largest difference of a parameter if the case was compared.

    Args:
        case: the key in `CASES` of `tools.parity.checkpoints`.
        folder: an empty folder for the checkpoint and the GGUF file.
    """
    directory, path = folder / "checkpoint", folder / "model.gguf"
    write(directory, case)
    try:
        convert(directory, path)
    except Exception as error:  # the scripts raise many types
        print(f"{case}: not converted ({type(error).__name__}: {error})")
        return
    try:
        far, differing = difference(directory, view_of(path, folder / "view"))
    except ModelError as error:
        print(f"{case}: refused ({error})")
        return
    print(f"{case}: parameters {'equal' if not far else f'differ by {far:.1e}'}, settings {differing or 'equal'}")
    yield far


def main() -> int:
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools.parity.gguf", description=__doc__.splitlines()[0])
    parser.add_argument("llama_cpp", type=Path, help="a copy of the repository of llama.cpp")
    parser.add_argument("--only", nargs="*", default=[], help="parts of the names of families; default: all")
    args = parser.parse_args()
    sys.path[1:1] = [str(args.llama_cpp / "gguf-py"), str(args.llama_cpp)]
    logging.disable(logging.WARNING)
    found = []
    for case in checkpoints.CASES:
        if not args.only or any(part in case for part in args.only):
            with tempfile.TemporaryDirectory() as folder:
                found += compared(case, Path(folder))
    return int(not found or max(found) > ROUNDED)


if __name__ == "__main__":
    sys.exit(main())
