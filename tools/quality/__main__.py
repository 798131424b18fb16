"""Measures what rounding costs: how far predictions with rounded weights are from predictions in float32.

    python -m tools.quality MODEL [--forms stored int8 int4] [--llama PYTHON]

MODEL is a directory or a GGUF file. Scores pieces of the repository's own documents and code, and prints a table with
two figures. One is the mean Kullback-Leibler divergence between the distributions of the next token, in thousandths of
a nat. The other is how often the most probable token is the same. `stored` serves a quantised checkpoint without
rounding it again.

`--llama` also measures llama.cpp on a GGUF file. PYTHON is the interpreter of an environment that has it.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from jaxchat.checkpoints.find_model import find_model
from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.checkpoints.stored_config import read_stored_config
from jaxchat.config import EngineConfig
from jaxchat.parallel.mesh import Placement
from jaxchat.runtime.parameters import load_parameters
from tools.quality.compare import Predict, agreement, divergence, predictor
from tools.quality.texts import ROOT, windows

FORMS = {"stored": None, "int8": "int8", "int4": "int4"}


def llama_cpp(python: Path, file: Path, pieces: np.ndarray) -> np.ndarray:
    """Returns the logits of llama.cpp, minus the largest logit at each position, f16 `[count, length, V]`.

    Args:
        python: interpreter of an environment with llama.cpp.
        file: the GGUF file.
        pieces: token ids, i32 `[count, length]`.

    Raises:
        RuntimeError: llama.cpp fails. The message is what it wrote to standard error.
    """
    with tempfile.TemporaryDirectory() as folder:
        tokens, logits = Path(folder, "tokens.npy"), Path(folder, "logits.npy")
        np.save(tokens, pieces)
        command = [python, "-m", "tools.quality.llama", file, tokens, logits]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])
        found: np.ndarray = np.load(logits)
        return found


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="tools.quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument(
        "--llama", type=Path, help="interpreter of an environment with llama.cpp; MODEL must be a GGUF file"
    )
    parser.add_argument("--pieces", type=int, default=16)
    parser.add_argument("--length", type=int, default=256, help="tokens of a piece")
    args = parser.parse_args()
    directory = find_model(args.model)
    config = read_stored_config(directory)
    pieces = windows(directory, args.pieces, args.length)
    exact = predictor(config, load_hf(directory, config)[0])
    peers: dict[str, Predict] = {}
    for form in args.forms:
        engine = EngineConfig(quantize=FORMS[form])
        placement = Placement.create(engine.mesh, config)
        params, _, phrase = load_parameters(directory, config, config, engine, placement)
        peers[f"{form}, {phrase}"] = predictor(config, params)
    llama = llama_cpp(args.llama, Path(args.model), pieces) if args.llama else None
    results: dict[str, list[tuple[float, float]]] = {}
    for index, piece in enumerate(pieces):
        right = exact(piece)
        found = {name: predict(piece) for name, predict in peers.items()}
        if llama is not None:
            found["llama.cpp"] = llama[index]
        for name, actual in found.items():
            results.setdefault(name, []).append((divergence(right, actual), agreement(right, actual)))
    print(f"{pieces.size} tokens\n\n| form | divergence, 1/1000 nat | same most probable token |\n|---|---|---|")
    for name, pairs in results.items():
        far, same = map(np.mean, zip(*pairs, strict=True))
        print(f"| {name} | {1000 * far:.2f} | {100 * same:.1f} % |")


if __name__ == "__main__":
    main()
