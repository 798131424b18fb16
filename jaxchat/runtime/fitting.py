"""A model made to fit the number of its devices: KV heads repeated, the vocabulary filled up. Answers stay the same.

More devices than KV heads: each copy of a KV head serves a part of the query heads that shared it. The copies cost KV
memory: with twice as many devices as KV heads, every key is held twice.

Vocabulary: rows that no token owns are added until every device has as many whole groups of tokens as the next
(`jaxchat.sampling.groups`). Sampling then works on each device's part; otherwise the compiler gathers the logits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import jax
import numpy

from jaxchat.models.config import ModelConfig
from jaxchat.sampling.groups import GROUP

Weights = TypeVar("Weights", numpy.ndarray, jax.Array)


def fitted(model: ModelConfig, devices: int) -> ModelConfig:
    """The shape of the model on so many devices; sampling must ignore the ids that it adds."""
    if devices == 1:
        return model
    vocab = -(-model.vocab_size // (GROUP * devices)) * GROUP * devices
    copies, rest = divmod(devices, model.kv_heads)
    repeats = copies > 1 and not rest and model.group % copies == 0
    return replace(model, vocab_size=vocab, kv_heads=devices if repeats else model.kv_heads)


def fit(path: tuple[str, ...], array: Weights, model: ModelConfig, target: ModelConfig) -> Weights:
    """A loaded parameter of `model` as `target`, which is that model `fitted`, has it."""
    np = numpy if isinstance(array, numpy.ndarray) else jax.numpy
    more = target.vocab_size - model.vocab_size
    if path == ("embed",) and more:
        return np.pad(array, ((0, more), (0, 0)))
    if path == ("head",) and more:
        return np.pad(array, ((0, 0), (0, more)))
    copies = target.kv_heads // model.kv_heads
    if copies > 1 and path[-1] in ("qkv", "qkv_bias"):  # [.., K, G + 2, d]: the queries, the key and the value
        *outer, kv_heads, fused, width = array.shape
        queries = array[..., :-2, :].reshape(*outer, kv_heads * copies, (fused - 2) // copies, width)
        return np.concatenate([queries, np.repeat(array[..., -2:, :], copies, axis=-3)], axis=-2)
    if copies > 1 and path[-1] in ("out", "sinks"):  # [K, G, ..]
        kv_heads, group, *widths = array.shape
        return array.reshape(kv_heads * copies, group // copies, *widths)
    return array
