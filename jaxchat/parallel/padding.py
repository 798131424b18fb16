"""Pads a model to the number of its devices: repeats or adds heads and extends the vocabulary. Answers stay the same.

With more devices than KV heads, each copy of a KV head serves a part of the query heads that shared it. The copies cost
KV memory: with twice as many devices as KV heads, every key is stored twice. If devices do not divide the heads, heads
of zeros are added, and the output projection multiplies their results by zeros.

The vocabulary gets padding rows until every device has the same number of whole groups of tokens
(`jaxchat.sampling.topk`). Sampling then works on each device's part of the logits. Otherwise the compiler would gather
all logits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import jax
import numpy

from jaxchat.arithmetic import cdiv
from jaxchat.models.config import LayerKind, ModelConfig
from jaxchat.models.param_specs import ParamPath, ParamSpec, layer_index
from jaxchat.sampling.topk import GROUP

Weights = TypeVar("Weights", numpy.ndarray, jax.Array)


def padded_config(model: ModelConfig, devices: int) -> ModelConfig:
    """Returns the configuration of the model with enough vocabulary and heads for `devices` devices.

    Sampling must ignore token ids from `model.vocab_size` on. One device needs no padding.

    Raises:
        ValueError: heads would be repeated or added, but the model normalises queries and keys across all heads at
            once.
    """
    if devices == 1:
        return model
    vocab = cdiv(model.vocab_size, GROUP * devices) * GROUP * devices
    heads, kv_heads = _padded_heads(model, devices)
    kinds = tuple(_padded_kind(kind, layer, devices) for kind, layer in zip(model.kinds, model.layers, strict=True))
    return replace(model, vocab_size=vocab, num_heads=heads, num_kv_heads=kv_heads, kinds=kinds)


def _padded_kind(kind: LayerKind, layer: ModelConfig, devices: int) -> LayerKind:
    if kind.num_heads is None and kind.num_kv_heads is None:
        return kind
    heads, kv_heads = _padded_heads(layer, devices)
    return replace(kind, num_heads=heads, num_kv_heads=kv_heads)


def _padded_heads(model: ModelConfig, devices: int) -> tuple[int, int]:
    """Returns the padded numbers of query heads and of KV heads. Raises ValueError as `padded_config` does."""
    copies = max(1, devices // model.num_kv_heads)
    kv_heads = cdiv(model.num_kv_heads * copies, devices) * devices
    group = cdiv(model.group, copies)
    if model.qk_norm_whole and (kv_heads, group) != (model.num_kv_heads, model.group):
        raise ValueError(
            f"tensor_parallel {devices} must divide the {model.num_kv_heads} KV heads of a model that normalises "
            "queries and keys over all heads"
        )
    return kv_heads * group, kv_heads


def pad(path: ParamPath, spec: ParamSpec, array: Weights, model: ModelConfig, target: ModelConfig) -> Weights:
    """Pads a parameter of `model` to its shape in `target`.

    Args:
        path: path of the parameter.
        spec: the parameter's spec in either model.
        array: the parameter.
        model: the model as stored.
        target: the result of `padded_config` for that model.
    """
    np = numpy if isinstance(array, numpy.ndarray) else jax.numpy
    if (layer := layer_index(path)) is not None:
        model, target = model.layers[layer], target.layers[layer]
    if spec.padding == "vocab":
        return _filled(array, spec.axes.index("vocab"), target.vocab_size)
    if spec.padding == "none" or (model.num_heads, model.num_kv_heads) == (target.num_heads, target.num_kv_heads):
        return array
    axis = spec.axes.index("kv_heads")
    if spec.padding == "query_heads":
        return _split(array, axis, model, target)
    shared = np.repeat(array[..., -2:, :], target.num_kv_heads // model.num_kv_heads, axis=axis)
    queries = _split(array[..., :-2, :], axis, model, target)
    return np.concatenate([queries, _filled(shared, axis, target.num_kv_heads)], axis=-2)


def _split(array: Weights, axis: int, model: ModelConfig, target: ModelConfig) -> Weights:
    """Distributes query heads over the copies of their KV heads. The axes K and G are `axis` and `axis + 1`."""
    copies = target.num_kv_heads // model.num_kv_heads
    array = _filled(array, axis + 1, copies * target.group)
    shape = (*array.shape[:axis], model.num_kv_heads * copies, target.group, *array.shape[axis + 2 :])
    return _filled(array.reshape(shape), axis, target.num_kv_heads)


def _filled(array: Weights, axis: int, size: int) -> Weights:
    """Pads the end of an axis with zeros, to a length of `size`."""
    if array.shape[axis] == size:
        return array
    np = numpy if isinstance(array, numpy.ndarray) else jax.numpy
    return np.pad(array, [(0, size - array.shape[axis] if each == axis else 0) for each in range(array.ndim)])
