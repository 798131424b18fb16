"""A model fitted to more devices computes what it did; see also the runs on several devices in `test_runner`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.kernels.reference import causal
from jaxchat.models.config import ModelConfig
from jaxchat.models.decoder import Decoder, hidden_states, logits_of
from jaxchat.runtime.fitting import fit, fitted

MODEL = ModelConfig(
    vocab_size=300,
    layers=2,
    heads=8,
    kv_heads=2,
    width=32,
    ffn_width=64,
    head_width=8,
    context=64,
    qkv_bias=True,
    out_bias=True,
)
IDS = jnp.arange(9) * 31


def logits(model, params):
    decoder = Decoder(model)
    return logits_of(decoder, params, hidden_states(decoder, params, IDS, jnp.arange(len(IDS)), causal))


@pytest.mark.parametrize(("devices", "kv_heads", "vocab"), [(2, 2, 512), (4, 4, 512), (8, 8, 1024)])
@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray])
def test_a_fitted_model_computes_the_same(devices, kv_heads, vocab, convert):
    params = Decoder(MODEL).init(jax.random.key(0), IDS, IDS, attend=causal)["params"]
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(1), leaf.shape), params)
    target = fitted(MODEL, devices)
    assert (target.kv_heads, target.vocab_size) == (kv_heads, vocab)

    def one(path, leaf):
        return jnp.asarray(fit(tuple(key.key for key in path), convert(leaf), MODEL, target))

    got = logits(target, jax.tree_util.tree_map_with_path(one, params))
    np.testing.assert_allclose(got[:, :300], logits(MODEL, params), atol=1e-5)


def test_what_cannot_be_repeated_stays():
    assert fitted(MODEL, 1) == MODEL
    assert fitted(MODEL, 6).kv_heads == 2  # three copies do not divide four queries
    assert fitted(MODEL, 3).kv_heads == 2  # no whole number of copies
