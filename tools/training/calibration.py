"""Measures how well the probabilities of a model's tokens agree with how often the tokens come."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tokenizers import Tokenizer

import jaxchat.bundled
from jaxchat.arithmetic import cdiv
from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.kernels.attention.reference import causal
from jaxchat.models.config import ModelConfig
from jaxchat.models.decoder import Decoder
from jaxchat.models.families import read_config
from tools.training import data
from tools.training.pack import encode
from tools.training.sample import Sample

BINS, BATCH = 15, 16


def expected_calibration_error(confidence: np.ndarray, hit: np.ndarray) -> float:
    """Returns the expected calibration error, over 15 bins of equal width (arXiv 1706.04599).

    In each bin it compares the mean confidence with the share of hits. The result is the mean difference, weighted with
    the number of tokens in each bin.

    Args:
        confidence: probability of the likeliest token, f32 `[N]`.
        hit: whether that token is the right one, bool `[N]`.
    """
    bins = np.minimum((confidence * BINS).astype(np.int32), BINS - 1)
    gaps = [abs(float((confidence[bins == b] - hit[bins == b]).sum())) for b in range(BINS)]
    return sum(gaps) / len(confidence)


@partial(jax.jit, static_argnums=0)
def _predict(config: ModelConfig, params: Any, tokens: Array) -> tuple[Array, Array, Array]:
    """Returns for each next token its log-probability, the highest probability, and whether it is the likeliest.

    Args:
        config: the model.
        params: its parameters.
        tokens: padded conversations, i32 `[B, T]`. The results have the shape `[B, T - 1]`.
    """
    decoder, positions = Decoder(config), jnp.arange(tokens.shape[1] - 1)

    def one(row: Array) -> tuple[Array, Array, Array]:
        hidden = decoder.apply({"params": params}, row[:-1], positions, attend=causal)
        logits = decoder.apply({"params": params}, hidden, method=Decoder.logits)
        chances = jax.nn.log_softmax(logits.astype(jnp.float32))
        said = jnp.take_along_axis(chances, row[1:, None], -1)[:, 0]
        return said, jnp.exp(chances.max(-1)), chances.argmax(-1) == row[1:]

    return jax.vmap(one)(tokens)


class Scorer:
    """Scores the tokens of known answers.

    Args:
        directory: folder with the model and its tokenizer.
    """

    def __init__(self, directory: Path) -> None:
        self._config = read_config(directory)
        self._params, _ = load_hf(directory, self._config)
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))

    def score(self, samples: Iterable[Sample]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns log-probability, highest probability and hit of all learned tokens of the samples, each `[N]`."""
        encoded = sorted((encode(self._tokenizer, sample) for sample in samples), key=lambda pair: len(pair[0]))
        parts: list[tuple[np.ndarray, ...]] = []
        for start in range(0, len(encoded), BATCH):
            rows = encoded[start : start + BATCH]
            width = cdiv(max(len(ids) for ids, _ in rows), 128) * 128 + 1
            tokens, learned = np.zeros((BATCH, width), np.int32), np.zeros((BATCH, width), bool)
            for row, (ids, mask) in enumerate(rows):
                tokens[row, : len(ids)], learned[row, : len(ids)] = ids, mask
            scores = _predict(self._config, self._params, tokens)
            parts.append(tuple(np.asarray(score)[learned[:, 1:]] for score in scores))
        said, confidence, hit = (np.concatenate(column) for column in zip(*parts, strict=True))
        return said, confidence, hit


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=jaxchat.bundled.path(), help="model folder")
    parser.add_argument("--count", type=int, default=100, help="held-out samples of each skill")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skills", type=lambda text: text.split(","), default=list(data.SKILLS))
    args = parser.parse_args()
    scorer = Scorer(args.model)
    print("| skill | tokens | nats a token | mean confidence | likeliest is right | calibration error |")
    print("|---|---|---|---|---|---|")
    columns = [scorer.score(data.held_out(args.seed, skill, args.count)) for skill in args.skills]
    everything = tuple(np.concatenate(column) for column in zip(*columns, strict=True))
    for skill, (said, confidence, hit) in zip((*args.skills, "all"), (*columns, everything), strict=True):
        error = expected_calibration_error(confidence, hit)
        print(
            f"| {skill} | {len(said)} | {-said.mean():.4f} | {100 * confidence.mean():.2f} % "
            f"| {100 * hit.mean():.2f} % | {100 * error:.2f} % |"
        )


if __name__ == "__main__":
    main()
