"""Compiles single products with quantised weights for a TPU that is not present: `python -m tools.aot.products`.

Prints, for each form of the weight, the cycles that the TPU compiler estimates, as a multiple of those in which the
chip reads codes and factors once. Needs the environment of `make aot`, and its variables.
"""

from __future__ import annotations

import argparse
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding

from jaxchat.compat import described_devices
from jaxchat.kernels.matmul.weight_only import WeightLayout, WeightOnly
from jaxchat.kernels.matmul.weight_only_build import shapes_of_rows
from jaxchat.kernels.matmul.weight_only_product import matmul
from jaxchat.planning.hardware import parse_topology
from jaxchat.planning.hlo import Program
from jaxchat.quantised import imagined_rows

FORMS = {  # bits, inputs of a group (0: all), whether groups have zero points
    "8 bits, one scale for each output": (8, 0, False),
    "8 bits, groups of 32": (8, 32, False),
    "4 bits, groups of 32": (4, 32, False),
    "4 bits, groups of 128": (4, 128, False),
    "4 bits, groups of 128, zero points": (4, 128, True),
}
HEAD = "| weight | rows | bytes read, MB | cycles, thousands | of reading | temporary, MiB |\n|---|---|---|---|---|---|"


def row(name: str, rows: int, args: argparse.Namespace, device: jax.Device) -> str:
    """Compiles one product. Returns a row of the table."""
    bits, group, zeros = FORMS[name]
    on_device = partial(jax.ShapeDtypeStruct, sharding=SingleDeviceSharding(device))
    stored = imagined_rows((args.outputs, args.inputs), bits, group or args.inputs, zeros=zeros)
    shapes: WeightOnly = shapes_of_rows([stored], WeightLayout((args.outputs,)), jnp.dtype("bfloat16"))
    weight = jax.tree.map(lambda leaf: on_device(leaf.shape, leaf.dtype), shapes)
    x = on_device((rows, args.inputs), jnp.dtype("float32"))
    compiled = jax.jit(matmul).lower(x, weight).compile()
    cycles = Program(compiled.as_text()).cycles()
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(weight))
    reading = size / parse_topology(args.topology).chip.bandwidth * args.clock
    temporary = compiled.memory_analysis().temp_size_in_bytes / 1024**2
    return f"| {name} | {rows} | {size / 1e6:.1f} | {cycles / 1e3:.0f} | {cycles / reading:.2f} | {temporary:.0f} |"


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="tools.aot.products", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--topology", default="v5e:2x2", help="the products are on one device of it")
    parser.add_argument("--clock", type=float, default=1.5e9, help="cycles per second of the TPU; default: of a v5e")
    parser.add_argument("--inputs", type=int, default=4096)
    parser.add_argument("--outputs", type=int, default=2 * 14_336, help="default: gate and up of an 8B model")
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 64])
    args = parser.parse_args()
    device, *_ = described_devices(args.topology, "tpu")
    print(HEAD)
    for rows in args.rows:
        for name in FORMS:
            print(row(name, rows, args, device), flush=True)


if __name__ == "__main__":
    main()
