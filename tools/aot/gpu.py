"""Compiles an engine's programs for an H200 that is not present, and checks the result. `make aot-gpu`

Each program must fit into memory beside the KV pages, update pages and slots in place, and call the Triton kernels in
every layer. A decode step must not write dequantised weights to memory. Speed is not checked: autotuning, which needs a
GPU, is off, and the compiler counts neither bytes nor operations. The exit status is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from jaxchat.compat import described_devices
from jaxchat.config import Quantize
from jaxchat.models.config import ModelConfig
from jaxchat.planning.aot import AotEngine, ProgramCosts
from jaxchat.planning.hardware import parse_topology
from jaxchat.planning.model_shapes import MODEL_SHAPES, read_shape
from jaxchat.planning.planner import make_plan, suggest_config
from jaxchat.runtime.compile import options

GIB = 1024**3
KERNEL = "__gpu$xla.gpu.triton"  # as the compiler calls it
CALLS = {"prefill": 2, "decode": 3}  # of each layer
PRODUCTS = 4  # of each layer; those of weights in groups call a kernel too
FORMS: dict[str, Quantize | None] = {"bfloat16": None, "int8": "int8", "int4": "int4"}


def failures(costs: ProgramCosts, model: ModelConfig, quantize: Quantize | None, memory: float) -> list[str]:
    """Returns a phrase for each check that a program fails.

    Args:
        costs: the compiler's costs of the program.
        model: the model.
        quantize: how weights are rounded.
        memory: bytes of memory on the device.
    """
    decodes, layers = costs.name.startswith("decode"), model.num_layers
    each = next(count for begin, count in CALLS.items() if costs.name.startswith(begin))
    each += PRODUCTS if decodes and quantize == "int4" else 0
    largest = 4 * model.embed_dim * model.mlp_dim  # bytes of gate and up in bf16
    calls = sum(count for target, count in costs.kernels.items() if target.startswith(KERNEL))
    holds = {
        f"takes {(costs.arguments + costs.temporary) / GIB:.1f} of {memory / GIB:.1f} GiB": (
            costs.arguments + costs.temporary <= memory
        ),
        f"updates {costs.aliased} of {costs.donated} bytes in place": costs.aliased >= costs.donated,
        f"calls {KERNEL} {calls} times in {layers} layers": calls == each * layers,
        f"has temporaries of {costs.temporary} bytes, as large as weights": not decodes or costs.temporary < largest,
    }
    return [text for text, good in holds.items() if not good]


def main() -> int:
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools.aot.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=MODEL_SHAPES, default="llama-3-8b")
    parser.add_argument("--weights", choices=FORMS, nargs="+", default=[*FORMS], help="default: all")
    args = parser.parse_args()
    target = Path(__file__).with_name("h200.txtpb").read_text("utf-8")
    devices = described_devices("", "cuda", topology="1x1x1", target_config=target)
    topology, model = parse_topology("h200:1"), read_shape(args.model)
    failed = 0
    for weights in args.weights:
        quantize = FORMS[weights]
        plan = make_plan(model, topology, suggest_config(topology, quantize=quantize))
        settings = {**(options("gpu") or {}), "xla_gpu_autotune_level": 0}
        ahead = AotEngine(model, topology, plan.engine, devices, settings)
        for name in ahead.program_specs:
            costs = ahead.compile(name)
            wrong = failures(costs, model, quantize, topology.chip.memory)
            failed += bool(wrong)
            size = f"{costs.arguments / GIB:.1f} GiB and {costs.temporary / 1024**2:.0f} MiB temporary"
            verdict = "; ".join(wrong) or "as it should be"
            print(f"{args.model}, {weights}, {name}: {size}, {costs.seconds:.0f} s; {verdict}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
