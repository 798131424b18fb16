"""Models with the shapes of real ones and random weights. Their speed is that of the real models."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxchat.models.config import ModelConfig
from jaxchat.models.param_specs import ParamSpec, param_specs, param_tree

SHAPES: dict[str, ModelConfig] = {
    "0.5B": ModelConfig(  # Qwen2.5-0.5B
        vocab_size=151_936,
        num_layers=24,
        num_heads=14,
        num_kv_heads=2,
        embed_dim=896,
        mlp_dim=4864,
        head_dim=64,
        max_seq_len=32_768,
        norm_eps=1e-6,
        tie_embeddings=True,
        qkv_bias=True,
    ),
    "3M": ModelConfig(  # the bundled model
        vocab_size=2560,
        num_layers=6,
        num_heads=4,
        num_kv_heads=2,
        embed_dim=192,
        mlp_dim=512,
        head_dim=64,
        max_seq_len=4096,
        norm_eps=1e-5,
        tie_embeddings=True,
    ),
}


def random_params(config: ModelConfig, dtype: str) -> dict[str, Any]:
    """Returns random parameters in `dtype`, in the form that `load_hf` returns, from a fixed seed."""
    rng = np.random.default_rng(0)

    def draw(path: tuple[str, ...], spec: ParamSpec) -> jax.Array:
        values = rng.standard_normal(spec.shape, np.float32) * np.float32(0.02)
        return jnp.asarray(values if len(spec.shape) > 1 else 1 + values, dtype)

    return param_tree(param_specs(config), draw)
