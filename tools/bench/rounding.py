"""Measures how rounding changes a model's logits, relative to float32: `python -m tools.bench.rounding`

Runs texts through the decoder without a cache. The texts are files, or conversations that the bundled model was not
trained on. The precisions are bfloat16, weights in int8, and keys and values in int8.

Compares every position and prints three figures for each precision. The first is the root mean square error of the
logits, divided by the standard deviation of the logits. The second is the mean divergence of the next token's
distribution, in nats. The third is how often the likeliest token is the same.

Letters: T tokens, V tokens in the vocabulary.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax import Array
from tokenizers import Tokenizer

import jaxchat.bundled
from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.config import DTypeName
from jaxchat.kernels.attention.reference import causal
from jaxchat.kernels.attention.spec import PLAIN, AttentionSpec
from jaxchat.kernels.rounding import round_to_int8
from jaxchat.models.families import read_config
from jaxchat.models.param_specs import param_specs
from jaxchat.runtime.weight_packing import Int8Packing, pack
from tools.quality.compare import agreement, divergence, predictor
from tools.training import data
from tools.training.template import render

LENGTH = 256  # tokens of a conversation, or of a part of a file


@dataclass(frozen=True, kw_only=True)
class Precision:
    """A precision in which to run the decoder.

    Attributes:
        dtype: dtype of the weights.
        weights: whether weights are rounded to int8.
        kv: whether keys and values are rounded to int8.
    """

    dtype: DTypeName = "float32"
    weights: bool = False
    kv: bool = False


EXACT = Precision()
PRECISIONS = {
    "bfloat16": Precision(dtype="bfloat16"),
    "int8": Precision(weights=True),
    "KV in int8": Precision(kv=True),
}


def conversations(directory: Path, count: int) -> list[np.ndarray]:
    """Returns the token ids, i32 `[<= LENGTH]`, of held-out conversations with their answers.

    Conversations are cut off after `LENGTH` tokens.

    Args:
        directory: folder with the tokenizer.
        count: number of conversations of each skill.
    """
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    samples = [sample for skill in data.SKILLS for sample in data.held_out(3, skill, count)]
    texts = [render([*sample.prompt, sample.answer], list(sample.tools)) for sample in samples]
    return [np.array(tokenizer.encode(text).ids[:LENGTH], np.int32) for text in texts]


def parts(directory: Path, files: list[Path]) -> list[np.ndarray]:
    """Returns the token ids, i32 `[<= LENGTH]`, of successive parts of each file.

    Args:
        directory: folder with the tokenizer.
        files: texts in UTF-8.
    """
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    texts = [np.array(tokenizer.encode(file.read_text()).ids, np.int32) for file in files]
    return [ids[start : start + LENGTH] for ids in texts for start in range(0, len(ids), LENGTH)]


def attend_rounded(layer: int, q: Array, k: Array, v: Array, spec: AttentionSpec = PLAIN) -> Array:
    """Computes `causal` over keys and values that are rounded to int8. Arguments and result are those of `causal`."""
    (keys, key_scales), (values, value_scales) = (round_to_int8(x.astype(jnp.float32)) for x in (k, v))
    return causal(layer, q, keys * key_scales[..., None], values * value_scales[..., None], spec)


def logits(directory: Path, tokens: list[np.ndarray], precision: Precision) -> list[np.ndarray]:
    """Returns the logits, f32 `[T, V]`, of each text in `tokens`.

    Args:
        directory: the model.
        tokens: token ids of each text, i32 `[T]`.
        precision: the dtype of the weights, and what is rounded to int8.
    """
    config = read_config(directory)
    params, _ = load_hf(directory, config, dtype=precision.dtype)
    if precision.weights:
        params = pack(params, param_specs(config), Int8Packing({}))
    predict = predictor(config, params, attend_rounded if precision.kv else causal)
    padded = (np.pad(ids, (0, LENGTH - len(ids))) for ids in tokens)
    return [predict(ids)[: len(own)] for own, ids in zip(tokens, padded, strict=True)]


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="tools.bench.rounding", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=jaxchat.bundled.path(), help="folder with the bundled tokenizer")
    parser.add_argument("--count", type=int, default=20, help="conversations of each skill")
    parser.add_argument("--files", type=Path, nargs="*", help="texts to read in place of conversations")
    args = parser.parse_args()
    tokens = parts(args.model, args.files) if args.files else conversations(args.model, args.count)
    exact = np.concatenate(logits(args.model, tokens, EXACT))
    spread = exact.std()
    print(f"{len(tokens)} texts, {len(exact)} positions\n")
    print("| precision | error of a logit / spread | divergence, nats | same most likely token |\n|---|---|---|---|")
    for name, precision in PRECISIONS.items():
        actual = np.concatenate(logits(args.model, tokens, precision))
        error = np.sqrt(np.mean((actual - exact) ** 2)) / spread
        far, same = divergence(exact, actual), agreement(exact, actual)
        print(f"| {name} | {error:.4f} | {far:.6f} | {100 * same:.2f} % |", flush=True)


if __name__ == "__main__":
    main()
