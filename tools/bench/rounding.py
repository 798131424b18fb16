"""Measures how rounded weights change a model's logits, relative to float32: `python -m tools.bench.rounding`

Runs conversations that the bundled model was not trained on through the decoder in each precision, without a cache.
Compares every position: the error of the logits relative to their spread, and how often the likeliest token is the
same.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

import jaxchat.bundled
from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.kernels.attention.reference import causal
from jaxchat.models.decoder import Decoder, hidden_states, logits_of
from jaxchat.models.families import read_config
from jaxchat.models.param_specs import param_specs
from jaxchat.runtime.weight_packing import Int8Packing, pack
from tools.training import data
from tools.training.template import render

LENGTH = 256  # tokens of a conversation


def conversations(directory: Path, count: int) -> list[np.ndarray]:
    """Returns the token ids, i32 `[<= LENGTH]`, of held-out conversations with their answers.

    Conversations are cut off after `LENGTH` tokens.

    Args:
        directory: folder with the tokenizer.
        count: conversations of each skill.
    """
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    samples = [sample for skill in data.SKILLS for sample in data.held_out(3, skill, count)]
    texts = [render([*sample.prompt, sample.answer], list(sample.tools)) for sample in samples]
    return [np.array(tokenizer.encode(text).ids[:LENGTH], np.int32) for text in texts]


def logits(directory: Path, tokens: list[np.ndarray], dtype: str, rounded: bool) -> list[np.ndarray]:
    """Returns the logits, f32 `[T, V]`, of each conversation in `tokens`.

    Args:
        directory: the model.
        tokens: token ids of each conversation, i32 `[T]`.
        dtype: dtype of the weights.
        rounded: whether to round the weights to int8.
    """
    config = read_config(directory)
    params, _ = load_hf(directory, config, dtype=dtype)
    if rounded:
        params = pack(params, param_specs(config), Int8Packing({}))
    decoder, positions = Decoder(config), jnp.arange(LENGTH)

    @jax.jit
    def run(params: Any, ids: jax.Array) -> jax.Array:
        return logits_of(decoder, params, hidden_states(decoder, params, ids, positions, causal))

    padded = (np.pad(ids, (0, LENGTH - len(ids))) for ids in tokens)
    return [np.asarray(run(params, ids))[: len(own)] for own, ids in zip(tokens, padded, strict=True)]


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="tools.bench.rounding", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=jaxchat.bundled.path(), help="folder with the bundled tokenizer")
    parser.add_argument("--count", type=int, default=20, help="conversations a skill")
    args = parser.parse_args()
    tokens = conversations(args.model, args.count)
    exact = np.concatenate(logits(args.model, tokens, "float32", False))
    spread = exact.std()
    print(f"{len(tokens)} conversations, {len(exact)} positions\n")
    print("| precision | error of a logit / spread | same most likely token |\n|---|---|---|")
    for name, dtype, rounded in (("bfloat16", "bfloat16", False), ("int8", "float32", True)):
        actual = np.concatenate(logits(args.model, tokens, dtype, rounded))
        error = np.sqrt(np.mean((actual - exact) ** 2)) / spread
        same = np.mean(actual.argmax(-1) == exact.argmax(-1))
        print(f"| {name} | {error:.4f} | {100 * same:.2f} % |", flush=True)


if __name__ == "__main__":
    main()
