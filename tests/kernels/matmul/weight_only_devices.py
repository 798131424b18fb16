"""Multiplies by weights that two virtual devices share, and prints errors and collectives as JSON.

Run by `test_weight_only_devices`, because the number of virtual devices is fixed when jax starts.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxchat.kernels.matmul.rounding import round_rows
from jaxchat.kernels.matmul.weight_only import WeightLayout
from jaxchat.kernels.matmul.weight_only_build import from_rows
from jaxchat.kernels.matmul.weight_only_product import matmul
from jaxchat.quantised import Factors, QuantisedRows

OUTPUTS, SHARDS = 16, 2
MOVES = ("all-gather", "collective-permute", "all-to-all")
RNG = np.random.default_rng(0)


def rounded(inputs: int) -> QuantisedRows:
    return round_rows(RNG.standard_normal((OUTPUTS, inputs)).astype(np.float32), 4)


def with_zeros(inputs: int, group: int) -> QuantisedRows:
    shape = OUTPUTS, inputs // group
    scale = Factors(RNG.standard_normal(shape).astype(np.float16))
    codes = RNG.integers(0, 16, (OUTPUTS, inputs), np.uint8)
    return QuantisedRows(codes, 4, group, scale, RNG.integers(0, 16, shape, np.uint8))


CASES = {
    "even": rounded(4096),
    "prime words": rounded(18_944),  # 37 words on a device, of 64 inputs before they are padded
    "padded on each device": rounded(11_008),
    "factors that two does not divide": rounded(21_504),
    "groups of 128": with_zeros(18_944, 128),
    "groups of several words": with_zeros(4096, 512),
    "one group": with_zeros(4096, 4096),
    "small blocks": rounded(1216),
}


def compare(rows: QuantisedRows, split: Any, inside: bool) -> dict[str, Any]:
    """Returns the error relative to the largest sum, and the numbers of collectives of the compiled product."""
    mesh = jax.make_mesh((SHARDS,), ("tensor",), axis_types=(AxisType.Auto,))
    weight = from_rows([rows], WeightLayout((OUTPUTS,), split=split, shards=SHARDS), jnp.dtype("float32"))
    specs = weight.partition("tensor")
    x = RNG.standard_normal((3, rows.shape[1])).astype(np.float32)
    expected = x.astype(np.float64) @ rows.dequantised().astype(np.float64).T
    apart = PartitionSpec(None, "tensor")
    of_x, of_y = (apart, PartitionSpec()) if split == "inputs" else (PartitionSpec(), apart)
    places = jax.tree.map(lambda spec: NamedSharding(mesh, spec), (of_x, specs))
    arrays = jax.device_put((x, weight), places)

    def on_each(x: jax.Array, weight: Any) -> jax.Array:
        y = matmul(x, weight)
        return jax.lax.psum(y, "tensor") if split == "inputs" else y

    product: Any = matmul
    if inside:
        product = jax.shard_map(on_each, mesh=mesh, in_specs=(of_x, specs), out_specs=of_y, check_vma=False)
    compiled = jax.jit(product, out_shardings=NamedSharding(mesh, of_y)).lower(*arrays).compile()
    text = compiled.as_text()
    return {
        "error": float(np.abs(compiled(*arrays) - expected).max() / np.abs(expected).max()),
        "moved": sum(len(re.findall(rf" {kind}\(", text)) for kind in MOVES),
        "sums": len(re.findall(r" all-reduce\(", text)),
    }


def as_on_a_gpu(*operands: Any, **branches: Any) -> Any:
    """Takes the branch for GPUs, where there is one, as far as a CPU can run it."""
    return branches["cuda"](*operands) if "cuda" in branches else PLATFORM_DEPENDENT(*operands, **branches)


PLATFORM_DEPENDENT = jax.lax.platform_dependent


if __name__ == "__main__":
    if "gpu" in sys.argv:
        jax.lax.platform_dependent = as_on_a_gpu
    print(
        json.dumps(
            {
                f"{name}, {split}, {'inside' if inside else 'outside'}": compare(rows, split, inside)
                for name, rows in CASES.items()
                for split in ("inputs", "outputs")
                for inside in (False, True)
            }
        )
    )
