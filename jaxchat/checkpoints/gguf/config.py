"""Translates the metadata of a GGUF file into the keys of a Hugging Face `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxchat.checkpoints.gguf.blocks import floats
from jaxchat.checkpoints.gguf.file import GgufFile
from jaxchat.checkpoints.gguf.metadata import Metadata
from jaxchat.errors import ModelError

_NEUTRAL = ("vocab_size", "rope.scaling.finetuned", "pooling_type", "tensor_data_layout", "use_parallel_residual")
"""Keys that say nothing more about a decoder that writes text. Early files of Qwen have the last one by mistake."""
_IMAGES = ("vision.", "mm.")  # beginnings of keys about the part of a model that sees images


@dataclass(frozen=True)
class ModelKeys:
    """A reader of the keys of one architecture, such as `llama.block_count`, and of the tensors in the same file."""

    file: GgufFile
    metadata: Metadata
    architecture: str  # as in `general.architecture`

    def name(self, key: str) -> str:
        """Returns a key's full name, which begins with the architecture, as in `llama.block_count`."""
        return f"{self.architecture}.{key}"

    def has(self, key: str) -> bool:
        """Returns whether the key is present."""
        return self.metadata.has(self.name(key))

    def integer(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        """Returns a whole number, see `Metadata.integer`."""
        return self.metadata.integer(self.name(key), default, least=least)

    def number(self, key: str, default: float | None = None) -> float:
        """Returns a finite number, see `Metadata.number`."""
        return self.metadata.number(self.name(key), default)

    def flags(self, key: str) -> list[bool]:
        """Returns a list of booleans, empty if the key is absent. Raises ModelError for other values."""
        values = self.metadata.numbers(self.name(key), "b")
        return [] if values is None else values.tolist()

    def stores(self, tensor: str) -> bool:
        """Returns whether the file holds the tensor."""
        return tensor in self.file.tensors

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Returns the shape of a tensor. Raises ModelError if it is missing."""
        if tensor not in self.file.tensors:
            raise ModelError(f"{self.file.path}: tensor {tensor} is missing")
        return self.file.tensors[tensor].shape

    def factors(self, tensor: str) -> list[float]:
        """Returns the numbers of a stored tensor with one axis, such as the factors of RoPE's frequencies."""
        stored = self.file.tensors[tensor]
        data = np.fromfile(stored.path, np.uint8, stored.size, offset=stored.offset)
        return [float(number) for number in floats(stored.type, data[None])[0]]


def base_config(keys: ModelKeys, model: str) -> dict[str, Any]:
    """Returns the keys of a `config.json` that all architectures have in common.

    Args:
        keys: the metadata.
        model: name of the architecture in Hugging Face form.

    Raises:
        ModelError: a key or tensor is missing or wrong, or RoPE is scaled in an unknown way.
    """
    heads, width = keys.integer("attention.head_count", least=1), keys.integer("embedding_length", least=1)
    head_dim = keys.integer("attention.key_length", width // heads, least=1)
    value_dim = keys.integer("attention.value_length", head_dim)
    if value_dim != head_dim:
        raise ModelError(
            f"{keys.file.path}: key {keys.name('attention.value_length')} is {value_dim}, but the keys of a head have "
            f"{head_dim} dimensions; they must be equal"
        )
    keys.metadata.ignore(*map(keys.name, _NEUTRAL))
    if not keys.metadata.flag(keys.name("attention.causal"), True):
        raise keys.metadata.error(keys.name("attention.causal"), "must be true; others are not decoders")
    context = keys.integer("context_length", least=1)
    rotated = keys.integer("rope.dimension_count", head_dim)
    theta = keys.number("rope.freq_base", 10_000.0)
    return {
        "architectures": [model],
        "vocab_size": keys.shape("token_embd.weight")[0],
        "hidden_size": width,
        "intermediate_size": keys.integer("feed_forward_length", least=1),
        "num_hidden_layers": keys.integer("block_count", least=1),
        "num_attention_heads": heads,
        "num_key_value_heads": keys.integer("attention.head_count_kv", heads, least=1),
        "head_dim": head_dim,
        "max_position_embeddings": context,
        "rms_norm_eps": keys.number("attention.layer_norm_rms_epsilon", 1e-6),
        "rope_theta": theta,
        "partial_rotary_factor": rotated / head_dim,
        "attention_bias": keys.stores("blk.0.attn_q.bias"),
        "mlp_bias": keys.stores("blk.0.ffn_gate.bias"),
        "tie_word_embeddings": not keys.stores("output.weight"),
    } | _rope_scaling(keys, context)


def experts(keys: ModelKeys, count: str) -> dict[str, Any]:
    """Returns the keys of `config.json` about experts.

    Args:
        keys: the metadata.
        count: the key of `config.json` that holds the number of experts, such as "num_experts".

    Raises:
        ModelError: a key of the file is missing or wrong.
    """
    return {
        count: keys.integer("expert_count", least=1),
        "num_experts_per_tok": keys.integer("expert_used_count", least=1),
    }


def check_all_read(keys: ModelKeys) -> None:
    """Raises ModelError for a key of the architecture that nothing has read, because it may change the model.

    Ignores keys about images.
    """
    images = tuple(map(keys.name, _IMAGES))
    if unread := [key for key in keys.metadata.unread(keys.name("")) if not key.startswith(images)]:
        raise ModelError(f"{keys.file.path}: key {unread[0]} is not supported for this architecture")


def _rope_scaling(keys: ModelKeys, context: int) -> dict[str, Any]:
    """Returns the keys of `config.json` about scaled RoPE, or {} if the file scales nothing.

    The keys are `rope_scaling` and, if the file has factors for short and long contexts,
    `original_max_position_embeddings`.

    Raises:
        ModelError: a key is missing or wrong, or the type of scaling is not supported.
    """
    kind = keys.metadata.word(keys.name("rope.scaling.type"), "none")
    original = keys.integer("rope.scaling.original_context_length", context)
    if keys.stores("rope_freqs.weight"):
        # The file has a divisor for each frequency, computed from the settings of Llama 3.1, which it lacks.
        factors = keys.factors("rope_freqs.weight")
        return {"rope_scaling": _longrope(factors, factors, context, 1.0)}
    if keys.stores("rope_factors_long.weight"):
        short, long = (keys.factors(f"rope_factors_{name}.weight") for name in ("short", "long"))
        magnitude = keys.number("rope.scaling.attn_factor") if keys.has("rope.scaling.attn_factor") else None
        return {
            "rope_scaling": _longrope(short, long, original, magnitude),
            "original_max_position_embeddings": original,
        }
    if kind == "linear":
        return {"rope_scaling": {"rope_type": "linear", "factor": keys.number("rope.scaling.factor")}}
    if kind == "yarn":
        return {"rope_scaling": _yarn(keys, original)}
    if kind != "none":
        raise keys.metadata.error(keys.name("rope.scaling.type"), "is not supported; supported: none, linear, yarn")
    if keys.number("rope.scaling.factor", 1.0) not in (0.0, 1.0):
        raise keys.metadata.error(keys.name("rope.scaling.factor"), "must be 1 where rope.scaling.type is none")
    return {}


def _longrope(short: list[float], long: list[float], original: int, magnitude: float | None) -> dict[str, Any]:
    scaling = {
        "rope_type": "longrope",
        "short_factor": short,
        "long_factor": long,
        "original_max_position_embeddings": original,
    }
    return scaling if magnitude is None else scaling | {"attention_factor": magnitude}


def _yarn(keys: ModelKeys, original: int) -> dict[str, Any]:
    optional = {
        "attention_factor": "rope.scaling.yarn_attn_factor",
        "beta_fast": "rope.scaling.yarn_beta_fast",
        "beta_slow": "rope.scaling.yarn_beta_slow",
    }
    if keys.number("rope.scaling.yarn_ext_factor", 1.0) != 1.0:
        raise keys.metadata.error(keys.name("rope.scaling.yarn_ext_factor"), "must be 1")
    return {
        "rope_type": "yarn",
        "factor": keys.number("rope.scaling.factor"),
        "original_max_position_embeddings": original,
        **{name: keys.number(key) for name, key in optional.items() if keys.has(key)},
    }


def windows(keys: ModelKeys, default: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the keys of a `config.json` about sliding windows.

    `sliding_window` is in tokens, or None if the model has no windows. `layer_types` says which layers have a window.
    If the file does not say which, the keys of `default` replace `layer_types`.

    Args:
        keys: the metadata.
        default: keys that say which layers have a window, such as `sliding_window_pattern`.

    Raises:
        ModelError: a key of the file is wrong.
    """
    window = keys.integer("attention.sliding_window", 0)
    pattern = keys.name("attention.sliding_window_pattern")
    if not keys.metadata.has(pattern):
        return {"sliding_window": window, **default} if window else {"sliding_window": None}
    if isinstance(every := keys.metadata.value(pattern), int) and not isinstance(every, bool):
        sliding = [(index + 1) % max(every, 1) != 0 for index in range(keys.integer("block_count"))]
    else:
        sliding = keys.flags("attention.sliding_window_pattern")
    types = ["sliding_attention" if each else "full_attention" for each in sliding]
    return {"sliding_window": window or None, "layer_types": types}
