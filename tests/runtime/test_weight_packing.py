"""Packed weights compute the same as unpacked ones."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.cache import cache_folder
from jaxchat.kernels.attention.reference import causal
from jaxchat.kernels.matmul.int8 import Int8
from jaxchat.kernels.matmul.native import PanelWeight, native_matmuls
from jaxchat.models.config import Experts, LayerKind, ModelConfig
from jaxchat.models.decoder import Decoder, hidden_states, logits_of
from jaxchat.models.param_specs import param_specs
from jaxchat.runtime.weight_packing import Int8Packing, PanelPacking, pack

EXPERTS = Experts(count=5, top_k=2, mlp_dim=24)
SIZES = dict(
    vocab_size=300, num_layers=2, num_heads=6, num_kv_heads=2, embed_dim=48, mlp_dim=80, head_dim=8, max_seq_len=64
)
TOKENS, POSITIONS = jnp.arange(7) * 11, jnp.arange(7)


@pytest.mark.parametrize("tie_embeddings", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logits_agree(tie_embeddings: bool, dtype: str) -> None:
    config = configured(tie_embeddings)
    params = parameters(config, dtype)
    plain = logits(config, params)
    packed = pack(params, param_specs(config), PanelPacking(native_matmuls(cache_folder())))
    assert isinstance(packed["embed"], PanelWeight) == tie_embeddings
    assert isinstance(packed["layer_0"]["mlp"]["expert_down"], PanelWeight)
    assert isinstance(packed["layer_1"]["mlp"]["down"], PanelWeight)
    bound = 1e-5 if dtype == "float32" else 0.02  # bf16: sums that differ in their last bit round apart between layers
    assert np.abs(logits(config, packed) - plain).max() < bound * np.abs(plain).max()


def test_rounded_weights_give_nearly_the_same_logits_in_cpp_and_by_xla() -> None:
    config = configured(tie_embeddings=True)
    plain = logits(config, parameters(config, "float32"))
    actual = []
    for targets in (native_matmuls(cache_folder()), {}):
        rounded = pack(parameters(config, "float32"), param_specs(config), Int8Packing(targets))
        weights = rounded["embed"], rounded["layer_0"]["mlp"]["expert_down"], rounded["layer_1"]["mlp"]["down"]
        assert all(isinstance(weight, Int8) and weight.values.dtype == jnp.int8 for weight in weights)
        actual.append(logits(config, rounded))
        assert np.abs(actual[-1] - plain).max() < 0.05 * np.abs(plain).max()
    assert np.abs(actual[0] - actual[1]).max() < 1e-5 * np.abs(plain).max()


def configured(tie_embeddings: bool) -> ModelConfig:
    kinds = LayerKind(sparse=True), LayerKind()
    return ModelConfig(
        **SIZES, tie_embeddings=tie_embeddings, qkv_bias=True, mlp_bias=True, kinds=kinds, experts=EXPERTS
    )


def parameters(config: ModelConfig, dtype: str) -> dict[str, Any]:
    params = Decoder(config).init(jax.random.key(0), TOKENS, POSITIONS, attend=causal)["params"]
    return jax.tree.map(lambda leaf: leaf.astype(dtype), params)


def logits(config: ModelConfig, params: dict[str, Any]) -> np.ndarray:
    decoder = Decoder(config)
    return np.asarray(logits_of(decoder, params, hidden_states(decoder, params, TOKENS, POSITIONS, causal)))
