"""A padded model computes the same as the original; see also the runs on several devices in `test_runner`."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.kernels.attention.reference import causal
from jaxchat.models.config import ModelConfig
from jaxchat.models.decoder import Decoder, hidden_states, logits_of
from jaxchat.models.param_specs import param_specs
from jaxchat.parallel.padding import pad, padded_config

MODEL = ModelConfig(
    vocab_size=300,
    num_layers=2,
    num_heads=8,
    num_kv_heads=2,
    embed_dim=32,
    mlp_dim=64,
    head_dim=8,
    max_seq_len=64,
    qkv_bias=True,
    out_bias=True,
    sinks=True,
)
IDS = jnp.arange(9) * 31


def logits(model, params):
    decoder = Decoder(model)
    return logits_of(decoder, params, hidden_states(decoder, params, IDS, jnp.arange(len(IDS)), causal))


@pytest.mark.parametrize(
    ("devices", "heads", "kv_heads", "vocab", "convert"),
    [
        (2, 8, 2, 512, np.asarray),
        (2, 8, 2, 512, jnp.asarray),
        (4, 8, 4, 512, jnp.asarray),
        (8, 8, 8, 1024, np.asarray),
        (3, 12, 3, 384, jnp.asarray),
        (7, 14, 7, 896, np.asarray),
    ],
)
def test_a_fitted_model_computes_the_same(devices, heads, kv_heads, vocab, convert):
    params = Decoder(MODEL).init(jax.random.key(0), IDS, IDS, attend=causal)["params"]
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(1), leaf.shape), params)
    target, specs = padded_config(MODEL, devices), param_specs(MODEL)
    assert (target.num_heads, target.num_kv_heads, target.vocab_size) == (heads, kv_heads, vocab)

    def one(path, leaf):
        named = tuple(key.key for key in path)
        return jnp.asarray(pad(named, specs[named], convert(leaf), MODEL, target))

    got = logits(target, jax.tree_util.tree_map_with_path(one, params))
    np.testing.assert_allclose(got[:, :300], logits(MODEL, params), atol=1e-5)


@pytest.mark.parametrize("devices", [2, 3, 4, 7, 8])
def test_a_padded_parameter_has_the_shape_that_the_table_gives_it(devices):
    target = padded_config(MODEL, devices)
    wanted = param_specs(target)
    for path, spec in param_specs(MODEL).items():
        assert pad(path, spec, np.ones(spec.shape, np.float32), MODEL, target).shape == wanted[path].shape, path


@pytest.mark.parametrize(
    ("heads", "kv_heads", "devices", "fitting"),
    [
        (8, 2, 1, (8, 2)),
        (6, 6, 4, (8, 8)),
        (6, 3, 2, (8, 4)),
        (14, 2, 4, (16, 4)),
        (4, 2, 8, (8, 8)),
        (5, 5, 8, (8, 8)),
    ],
)
def test_heads_that_do_not_divide_are_filled_up(heads, kv_heads, devices, fitting):
    target = padded_config(replace(MODEL, num_heads=heads, num_kv_heads=kv_heads), devices)
    assert (target.num_heads, target.num_kv_heads) == fitting


def test_heads_are_not_added_where_norms_span_all_of_them() -> None:
    whole = replace(MODEL, qk_norm=True, qk_norm_whole=True)
    assert padded_config(whole, 2).num_heads == MODEL.num_heads
    for devices in (4, 8):
        with pytest.raises(ValueError, match=f"tensor_parallel {devices} must divide the 2 KV heads"):
            padded_config(whole, devices)
