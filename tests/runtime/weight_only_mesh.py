"""Loads models on one and on two virtual devices, and prints how weights and predictions differ, as JSON.

Run by `test_weight_only_packing`, because the number of virtual devices is fixed when jax starts.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.checkpoints.stored_config import read_stored_config
from jaxchat.config import EngineConfig
from jaxchat.kernels.attention.reference import causal
from jaxchat.kernels.matmul.packed import PackedWeight
from jaxchat.kernels.matmul.weight_only import WeightOnly
from jaxchat.models.config import ModelConfig
from jaxchat.models.decoder import Decoder, hidden_states, logits_of
from jaxchat.models.sharding import TensorParallel
from jaxchat.parallel.mesh import Placement
from jaxchat.parallel.padding import padded_config
from jaxchat.runtime import matmul_backend
from jaxchat.runtime.parameters import load_parameters


def loaded(folder: Path, **settings: Any) -> tuple[dict[str, Any], str, ModelConfig, Placement]:
    """Returns parameters, the phrase about products, the padded model and the placement."""
    engine, model = EngineConfig(**settings), read_stored_config(folder)
    served = padded_config(model, engine.tensor_parallel)
    placement = Placement.create(engine.mesh, served)
    params, _, phrase = load_parameters(folder, model, served, engine, placement)
    return params, phrase, served, placement


def logits(params: Any, model: ModelConfig, placement: Placement) -> np.ndarray:
    over = TensorParallel.over(placement.mesh, "float32", "cpu", experts=placement.whole_experts)
    decoder, tokens = Decoder(model, over), jnp.arange(9)

    def run(params: Any) -> jax.Array:
        return logits_of(decoder, params, hidden_states(decoder, params, tokens, tokens, causal))

    return np.asarray(jax.jit(run)(params))


def compare(folder: Path, **settings: Any) -> dict[str, Any]:
    """Returns facts about a model on two devices, beside the same layout on one.

    `error` is the largest difference of logits, relative to the largest of them: from those of the stored numbers in
    f32 or, if `settings` round them, from those of one device.
    """
    one, _, model, alone = loaded(folder, **settings)
    two, phrase, served, pair = loaded(folder, **settings, tensor_parallel=2)
    right = logits(one if "quantize" in settings else load_hf(folder, model)[0], model, alone)
    packed = [leaf for leaf in jax.tree.leaves(two, is_leaf=is_packed) if is_packed(leaf)]
    return {
        "phrase": phrase,
        "weights": len(packed),
        "split": sum(any(jax.tree.leaves(weight)[0].sharding.spec) for weight in packed),
        "same arrays": all(map(same, jax.tree.leaves(unpacked(one)), jax.tree.leaves(unpacked(two)))),
        "error": float(np.abs(logits(two, served, pair)[:, : model.vocab_size] - right).max() / np.abs(right).max()),
    }


def unpacked(params: Any) -> Any:
    """Returns the parameters with codes in place of words, and with one axis of outputs in each array of a matrix."""

    def one(leaf: Any) -> Any:
        if not isinstance(leaf, WeightOnly):
            return leaf
        order, arrays = leaf.order, replace(leaf, codes=codes(leaf), order=None)
        if leaf.layout.order == "matrix":
            arrays = jax.tree.map(lambda array: joined(np.asarray(array), leaf), arrays)
        return jax.tree.leaves((arrays, order))

    return jax.tree.map(one, params, is_leaf=lambda leaf: isinstance(leaf, WeightOnly))


def codes(weight: WeightOnly) -> np.ndarray:
    """Returns codes `[..., k, N]`, or `[N, k]` of a table, whatever number of inputs a row of words has in common."""
    array, table = np.asarray(weight.codes), weight.layout.order == "table"
    if array.dtype == np.int32:
        shifts = np.arange(28, -1, -4, dtype=np.int32).reshape(8, *[1] * (0 if table else 2))
        array = np.expand_dims(array, -1 if table else -3) << shifts >> 28
    if table:
        return array.reshape(len(array), -1)
    front = weight.layout.stack + weight.layout.lead
    return array.reshape(*array.shape[:front], -1, array.shape[-1])


def joined(array: np.ndarray, weight: WeightOnly) -> np.ndarray:
    """Converts `[..., lead..., m, N]` to `[..., m, lead * N]`, because leading axes may differ with the devices."""
    stack, lead = weight.layout.stack, weight.layout.lead
    moved = np.moveaxis(array, range(stack, stack + lead), range(-1 - lead, -1))
    return moved.reshape(*moved.shape[: stack + 1], -1)


def is_packed(leaf: Any) -> bool:
    return isinstance(leaf, PackedWeight)


def same(first: Any, second: Any) -> bool:
    """Returns whether two arrays are equal; the second may have more rows or columns for a padded vocabulary."""
    whole = tuple(slice(size) for size in first.shape)
    return first.ndim == second.ndim and np.array_equal(np.asarray(first), np.asarray(second)[whole])


if __name__ == "__main__":
    matmul_backend.weight_only = lambda placement: True  # on one CPU device too
    print(json.dumps([compare(Path(folder), **settings) for folder, settings in json.loads(sys.argv[1])]))
