"""Measures what rounding costs: how far predictions are from those of the same weights in float32.

    python -m tools.quality MODEL [--forms stored int8 int4] [--llama PYTHON]

MODEL is a directory or a GGUF file. Scores pieces of the repository's own documents and code, and prints a table: the
mean Kullback-Leibler divergence of the next token's distribution from that of the float32 weights, in thousandths of a
nat, and how often the most probable token is the same. `stored` serves a quantised checkpoint as it is stored.
`--llama` also measures llama.cpp on a GGUF file. PYTHON is the interpreter of an environment that has it.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxchat.checkpoints.find_model import find_model
from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.checkpoints.stored_config import read_stored_config
from jaxchat.config import EngineConfig
from jaxchat.kernels.attention.reference import causal
from jaxchat.models.config import ModelConfig
from jaxchat.models.decoder import Decoder, hidden_states, logits_of
from jaxchat.parallel.mesh import Placement
from jaxchat.runtime.parameters import load_parameters
from tools.quality.texts import ROOT, windows

FORMS = {"stored": None, "int8": "int8", "int4": "int4"}
Predict = Callable[[int, np.ndarray], np.ndarray]
"""`predict(index, piece)` returns the log-probabilities, f32 `[length, V]`, after each token of a piece."""


def ours(config: ModelConfig, params: dict[str, Any]) -> Predict:
    """Returns the predictions of the decoder with these parameters."""
    decoder = Decoder(config)

    @jax.jit
    def run(params: dict[str, Any], tokens: jax.Array) -> jax.Array:
        places = jnp.arange(len(tokens))
        hidden = hidden_states(decoder, params, tokens, places, causal)
        return jax.nn.log_softmax(logits_of(decoder, params, hidden))

    return lambda index, piece: np.asarray(run(params, jnp.asarray(piece)))


def llama_cpp(python: Path, file: Path, pieces: np.ndarray) -> Predict:
    """Returns the predictions of llama.cpp, whose environment has the interpreter `python`."""
    with tempfile.TemporaryDirectory() as folder:
        tokens, logits = Path(folder, "tokens.npy"), Path(folder, "logits.npy")
        np.save(tokens, pieces)
        command = [python, "-m", "tools.quality.llama", file, tokens, logits]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])
        found = np.load(logits)
    return lambda index, piece: np.asarray(jax.nn.log_softmax(jnp.asarray(found[index], jnp.float32)))


def distance(right: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Returns the mean divergence from `right`, in nats, and the share of equal most probable tokens.

    Both arguments are log-probabilities `[length, V]`.
    """
    divergence = (np.exp(right) * (right - other)).sum(-1).mean()
    return float(divergence), float((right.argmax(-1) == other.argmax(-1)).mean())


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="tools.quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--llama", type=Path, help="Python of an environment with llama.cpp, which reads a GGUF file")
    parser.add_argument("--pieces", type=int, default=16)
    parser.add_argument("--length", type=int, default=256, help="tokens of a piece")
    args = parser.parse_args()
    directory = find_model(args.model)
    config = read_stored_config(directory)
    pieces = windows(directory, args.pieces, args.length)
    exact = ours(config, load_hf(directory, config)[0])
    peers: dict[str, Predict] = {}
    for form in args.forms:
        engine = EngineConfig(quantize=FORMS[form])
        placement = Placement.create(engine.mesh, config)
        params, _, phrase = load_parameters(directory, config, config, engine, placement)
        peers[f"{form}, {phrase}"] = ours(config, params)
    if args.llama:
        peers["llama.cpp"] = llama_cpp(args.llama, Path(args.model), pieces)
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in peers}
    for index, piece in enumerate(pieces):
        right = exact(index, piece)
        for name, predict in peers.items():
            results[name].append(distance(right, predict(index, piece)))
    print(f"{pieces.size} tokens\n\n| form | divergence, 1/1000 nat | same most probable token |\n|---|---|---|")
    for name, pairs in results.items():
        divergence, same = map(np.mean, zip(*pairs, strict=True))
        print(f"| {name} | {1000 * divergence:.2f} | {100 * same:.1f} % |")


if __name__ == "__main__":
    main()
