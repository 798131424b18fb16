"""Parts of the decoder that parity in float32 does not show."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.kernels.attention.reference import causal
from jaxchat.models.decoder import Decoder
from jaxchat.models.families import from_hugging_face
from jaxchat.models.param_specs import ParamPath, ParamSpec, param_specs, param_tree
from jaxchat.models.rope import RopeConfig, RopeTables, rotate, rotation
from tests import tiny

SCALE = 12.3  # bfloat16 rounds it to 12.3125
EPS = 4.0  # a norm hides the scale of its input unless this is of the same size
GRANITE: dict[str, Any] = dict(architectures=["GraniteForCausalLM"], embedding_multiplier=SCALE, rms_norm_eps=EPS)
GEMMA: dict[str, Any] = dict(architectures=["GemmaForCausalLM"], head_dim=8, rms_norm_eps=EPS)


@pytest.mark.parametrize(
    ("changes", "scale"),
    [(GRANITE, SCALE), (dict(GEMMA, hidden_size=44), float(jnp.asarray(44**0.5, jnp.bfloat16)))],
    ids=["granite", "gemma"],
)
def test_the_embedding_scale_is_rounded_to_bfloat16_for_gemma_only(changes: dict[str, Any], scale: float) -> None:
    """`transformers` multiplies by a tensor of the dtype of the weights for Gemma, by a Python number for Granite."""
    config = from_hugging_face({**tiny.CONFIG, **changes})
    decoder, ids = Decoder(config), jnp.arange(5)
    params = param_tree(param_specs(config), _embedding_alone)
    actual = decoder.apply({"params": params}, ids, ids, attend=causal)
    rows = np.asarray(params["embed"], np.float64)[:5] * scale
    expected = rows / np.sqrt((rows**2).mean(-1, keepdims=True) + EPS)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def _embedding_alone(path: ParamPath, spec: ParamSpec) -> jax.Array:
    """Returns a random embedding in bfloat16, scales that change nothing, and zeros for layers, which add nothing."""
    if path == ("embed",):
        return jax.random.normal(jax.random.key(0), spec.shape, jnp.bfloat16)
    norm = path[-1] == "scale"
    return spec.init(None, spec.shape, jnp.bfloat16) if norm else jnp.zeros(spec.shape, jnp.bfloat16)


def test_interleaved_rotation_turns_neighbours_and_keeps_scores() -> None:
    rng = np.random.default_rng(0)
    positions, x = np.array([0, 3, 1000]), rng.normal(size=(3, 2, 8)).astype(np.float32)
    tables = rotation(RopeConfig(fraction=0.5, interleaved=True), 8, jnp.array(positions))
    angles = np.exp(1j * positions[:, None, None] * 10000.0 ** -np.array([0, 0.5]))
    turned = (x[..., :4:2] + 1j * x[..., 1:4:2]) * angles
    expected = np.concatenate([turned.real, turned.imag, x[..., 4:]], axis=-1)
    np.testing.assert_allclose(rotate(jnp.array(x), tables), expected, atol=1e-4)


def test_queries_grow_by_the_logarithm_of_the_periods_before_them() -> None:
    positions = jnp.array([0, 15, 16, 47, 48])
    tables = rotation(RopeConfig(query_beta=0.5, original_context=16), 4, positions)
    assert isinstance(tables, RopeTables) and tables.query_scale is not None
    expected = 1 + 0.5 * np.log([1, 1, 2, 3, 4])
    np.testing.assert_allclose(tables.query_scale.ravel(), expected, rtol=1e-6)
    assert rotation(RopeConfig(), 4, positions).query_scale is None


@pytest.mark.parametrize("config", [RopeConfig(query_beta=0.3, original_context=16), RopeConfig(interleaved=True)])
def test_tables_of_a_position_do_not_depend_on_its_neighbours(config: RopeConfig) -> None:
    make, positions = jax.jit(lambda positions: rotation(config, 16, positions)[:3]), jnp.arange(0, 6400, 100)
    together = make(positions)
    for count in (1, 2, 8):
        alone = make(positions[-count:])
        for part, whole in zip(alone, together, strict=True):
            if whole is not None:
                np.testing.assert_array_equal(part, whole[-count:])
