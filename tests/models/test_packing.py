"""Packed weights compute what the plain ones do."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.kernels.products import Panels, native_products
from jaxchat.kernels.reference import causal
from jaxchat.models.config import Experts, LayerKind, ModelConfig
from jaxchat.models.decoder import Decoder, hidden_states, logits_of
from jaxchat.models.packing import Native, pack

EXPERTS = Experts(count=5, chosen=2, width=24)
SIZES = dict(vocab_size=300, layers=2, heads=6, kv_heads=2, width=48, ffn_width=80, head_width=8, context=64)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logits_agree(tied: bool, dtype: str) -> None:
    kinds = LayerKind(sparse=True), LayerKind()
    config = ModelConfig(**SIZES, tied=tied, qkv_bias=True, mlp_bias=True, kinds=kinds, experts=EXPERTS)
    decoder, tokens, positions = Decoder(config), jnp.arange(7) * 11, jnp.arange(7)
    params = decoder.init(jax.random.key(0), tokens, positions, attend=causal)["params"]
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)

    def logits(params: dict) -> np.ndarray:
        return np.asarray(logits_of(decoder, params, hidden_states(decoder, params, tokens, positions, causal)))

    plain = logits(params)
    packed = pack(params, config, Native(native_products(None)))
    assert isinstance(packed["embed"], Panels) == tied
    assert isinstance(packed["layer_0"]["mlp"]["expert_down"], Panels)
    assert isinstance(packed["layer_1"]["mlp"]["down"], Panels)
    bound = 1e-5 if dtype == "float32" else 0.02  # bf16: sums that differ in their last bit round apart between layers
    assert np.abs(logits(packed) - plain).max() < bound * np.abs(plain).max()
