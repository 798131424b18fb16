"""Sums over several devices in one process: the same as on one device for every dtype that travels, rounded on
request.
"""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxchat.models.layers import FeedForward
from jaxchat.models.moe import MoE
from jaxchat.models.param_specs import feed_forward_specs, moe_specs
from jaxchat.models.sharding import TensorParallel
from tests.models.test_moe import CONFIG, EXPERTS, random

DEVICES = 4


def layer(name: str, tensor_parallel: TensorParallel) -> nn.Module:
    return MoE(CONFIG, EXPERTS, tensor_parallel) if name == "experts" else FeedForward(CONFIG, tensor_parallel)


def compare(name: str) -> None:
    """Compares one layer of bf16 weights on one device and over all, with partial sums of either dtype."""
    mesh = Mesh(np.array(jax.devices()), ("tensor",), axis_types=(AxisType.Auto,))
    x, alone = random(8, 32), layer(name, TensorParallel())
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), alone.init(jax.random.key(0), x))
    split = {"ffn": "tensor", "expert_ffn": "tensor"}
    specs = moe_specs(CONFIG, EXPERTS) if name == "experts" else feed_forward_specs(CONFIG)
    placed = {
        leaf_name: jax.device_put(
            leaf, NamedSharding(mesh, PartitionSpec(*(split.get(axis or "") for axis in specs[leaf_name,].axes)))
        )
        for leaf_name, leaf in params["params"].items()
    }
    assert any(leaf.addressable_shards[0].data.size == leaf.size // DEVICES for leaf in placed.values())
    expected = np.asarray(alone.apply(params, x))
    scale = np.abs(expected).max()
    for parts, most in (("float32", 1e-5), ("bfloat16", 2**-7)):
        tensor_parallel = TensorParallel.over(mesh, parts, "tpu")
        assert tensor_parallel.reduce_dtype == parts
        actual = jax.jit(layer(name, tensor_parallel).apply)({"params": placed}, x)
        assert actual.dtype == jnp.float32
        error = np.abs(np.asarray(actual) - expected).max() / scale
        assert error <= most, (parts, error)
        if parts == "bfloat16":
            assert error > 1e-4  # it was rounded


@pytest.mark.parametrize("name", ["feed-forward", "experts"])
def test_devices_add_up_to_what_one_computes(name: str) -> None:
    script = f"from tests.models.test_sharding import compare; compare({name!r})"
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES}"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


@pytest.mark.parametrize(
    ("dtype", "platform", "devices", "parts"),
    [
        ("bfloat16", "tpu", 8, "bfloat16"),
        ("bfloat16", "gpu", 2, "bfloat16"),
        ("float32", "tpu", 8, "float32"),
        ("bfloat16", "tpu", 1, "float32"),  # nothing travels
        ("bfloat16", "cpu", 8, "float32"),
    ],
)
def test_parts_travel_in_the_dtype_of_the_weights_on_accelerators(dtype, platform, devices, parts) -> None:
    mesh = jax.sharding.AbstractMesh((devices,), ("tensor",), axis_types=(AxisType.Auto,))
    assert TensorParallel.over(mesh, dtype, platform).reduce_dtype == parts
