"""Pads a model to the number of its devices: repeats or adds heads and extends the vocabulary, with the same answers.

With more devices than KV heads, each copy of a KV head serves a part of the query heads that shared it. The copies cost
KV memory: with twice as many devices as KV heads, every key is stored twice. Where heads do not divide, heads of zeros
are added, whose results are multiplied by zeros.

The vocabulary gets padding rows until every device has the same number of whole groups of tokens
(`jaxchat.sampling.topk`). Sampling then works on each device's part; otherwise the compiler gathers the logits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import jax
import numpy

from jaxchat.arithmetic import cdiv
from jaxchat.models.config import ModelConfig
from jaxchat.sampling.topk import GROUP

Weights = TypeVar("Weights", numpy.ndarray, jax.Array)


def padded_config(model: ModelConfig, devices: int) -> ModelConfig:
    """Returns the shape of the model on `devices` devices. Sampling must ignore the ids that this adds."""
    if devices == 1:
        return model
    vocab = cdiv(model.vocab_size, GROUP * devices) * GROUP * devices
    copies = max(1, devices // model.num_kv_heads)
    kv_heads = cdiv(model.num_kv_heads * copies, devices) * devices
    group = cdiv(model.group, copies)
    return replace(model, vocab_size=vocab, num_kv_heads=kv_heads, num_heads=kv_heads * group)


def pad(path: tuple[str, ...], array: Weights, model: ModelConfig, target: ModelConfig) -> Weights:
    """Pads a parameter of `model` to its shape in `target`, the result of `padded_config`."""
    np = numpy if isinstance(array, numpy.ndarray) else jax.numpy
    if path in (("embed",), ("head",)):
        return _filled(array, int(path == ("head",)), target.vocab_size)
    if (model.num_heads, model.num_kv_heads) == (target.num_heads, target.num_kv_heads):
        return array
    if path[-1] in ("qkv", "qkv_bias"):  # [.., K, G + 2, d]: the queries, the key and the value
        axis = array.ndim - 3
        shared = np.repeat(array[..., -2:, :], target.num_kv_heads // model.num_kv_heads, axis=axis)
        queries = _split(array[..., :-2, :], axis, model, target)
        return np.concatenate([queries, _filled(shared, axis, target.num_kv_heads)], axis=-2)
    return _split(array, 0, model, target) if path[-1] in ("out", "sinks") else array  # [K, G, ..]


def _split(array: Weights, axis: int, model: ModelConfig, target: ModelConfig) -> Weights:
    """Distributes query heads, `[.., K, G, ..]` from `axis` on, over the copies of their KV heads."""
    copies = target.num_kv_heads // model.num_kv_heads
    array = _filled(array, axis + 1, copies * target.group)
    shape = (*array.shape[:axis], model.num_kv_heads * copies, target.group, *array.shape[axis + 2 :])
    return _filled(array.reshape(shape), axis, target.num_kv_heads)


def _filled(array: Weights, axis: int, size: int) -> Weights:
    """Pads the end of an axis with zeros to `size`."""
    if array.shape[axis] == size:
        return array
    np = numpy if isinstance(array, numpy.ndarray) else jax.numpy
    return np.pad(array, [(0, size - array.shape[axis] if each == axis else 0) for each in range(array.ndim)])
