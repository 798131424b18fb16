"""What serving a model would need and reach on a slice of accelerators, before anybody rents it.

From the shape of the model alone: no weights, no device. Times are those that the makers' peak rates allow, so real
ones are longer; decoding is estimated for sequences half as long as the context.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from serving.cli.environment import quiet_compiler
from serving.cli.flags import optional, to_flags

if TYPE_CHECKING:
    from jaxchat.api import Estimate, Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    text = "a folder with config.json, such a file, 'bundled', or the name of a known shape, as llama-3-8b"
    parser.add_argument("model", metavar="MODEL", help=text)
    parser.add_argument(
        "--topology", required=True, metavar="CHIPS", help="chips, as v5e:2x4, v6e:2x4, v5p:2x2x2 or h200:8"
    )
    parser.add_argument(
        "--slots", type=int, default=64, metavar="N", help="sequences that decode together (default: 64)"
    )
    text = "longest prompt plus answer (default: the model's own limit, at most 8192)"
    parser.add_argument("--max-seq-len", type=optional(int), default=None, metavar="TOKENS", help=text)
    text = "precision of weights and KV pages (default: bfloat16)"
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help=text)
    text = "take the programs' memory and steps from the TPU compiler, which takes minutes: pip install 'jaxchat[tpu]'"
    parser.add_argument("--compile", action="store_true", help=text)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(args: argparse.Namespace) -> int:
    """Returns 0 if the model fits, 1 if not. Raises ModelError and ValueError."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # looks for no accelerator: the one asked about is elsewhere
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # the compiler alone, of which several may run
    quiet_compiler()
    from jaxchat.api import plan  # brings jax in

    options = dict(slots=args.slots, max_seq_len=args.max_seq_len, dtype=args.dtype, compiled=args.compile)
    found = plan(args.model, args.topology, **options)
    print(json.dumps(facts(args.model, found), indent=2) if args.json else table(args.model, found))
    return 0 if found.fits else 1


def facts(model: str, plan: Plan) -> dict[str, Any]:
    """The plan as plain values; bytes are those on each device, times are in seconds."""
    return {
        "model": model,
        "topology": plan.topology.name,
        "devices": plan.topology.devices,
        "parameters": plan.parameters,
        "fits": plan.fits,
        "fits_on": plan.smallest_fit,
        "replicas": plan.replicas,
        "attention": plan.attention,
        "memory": {**asdict(plan.memory), "total": plan.memory.total, "available": int(plan.topology.chip.memory)},
        "kv": {
            "capacity_tokens": plan.capacity,
            "wanted_tokens": plan.full_capacity,
            "bytes_per_token": plan.per_token,
        },
        "decode_one": _facts_of(plan.decode_one),
        "decode_all": _facts_of(plan.decode_full),
        "prefill": _facts_of(plan.prefill),
        "command": command(model, plan),
    }


def table(model: str, plan: Plan) -> str:
    """The plan for people."""
    engine, chip = plan.engine, plan.topology.chip
    whose = "on" if plan.replicas == 1 else "each on"
    each = f"{whose} {engine.tensor_parallel} of {plan.topology.devices} devices"
    rows = [
        ("model", f"{model}, {plan.parameters / 1e9:,.2f} B parameters, {engine.dtype}"),
        ("devices", f"{plan.topology.name}: {plan.replicas} replica{'s' * (plan.replicas > 1)} {each}"),
        ("attention", plan.attention),
        ("fits", _verdict(plan)),
        ("", ""),
        ("memory on a device", f"{_gib(plan.memory.total)} of {_gib(chip.memory)}"),
        *((f"  {name}", _gib(size)) for name, size in asdict(plan.memory).items()),
        (
            "KV capacity",
            f"{plan.capacity:,} tokens; {engine.slots} slots of {plan.full_length:,} take {plan.full_capacity:,}",
        ),
        ("", ""),
        ("decode, 1 sequence", _line(plan.decode_one)),
        (f"decode, {engine.slots} sequences", _line(plan.decode_full)),
        (f"prefill, {engine.prefill_chunk} tokens", _speed(plan.prefill)),
        ("", ""),
        ("to serve", command(model, plan) if plan.fits else "-"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in rows)


def command(model: str, plan: Plan) -> str:
    """The command that serves the plan; over several hosts each runs it, as process I, and finds process 0 at HOST."""
    engine = plan.engine
    hosts = plan.topology.hosts(engine.tensor_parallel)
    several = f" --processes {hosts} --process-id I --coordinator HOST:8476" if hosts > 1 else ""
    return f"jaxchat serve --model {model} {' '.join(to_flags(engine))}{several}"


def _verdict(plan: Plan) -> str:
    if not plan.fits:
        smallest = f"; it fits on {plan.smallest_fit}" if plan.smallest_fit else ""
        return (
            f"no: beside the rest there is room for {plan.capacity:,} tokens of KV, one sequence takes more{smallest}"
        )
    if plan.capacity < plan.full_capacity:
        return "yes, but not all slots at full length: then the youngest wait in host memory"
    return "yes"


def _facts_of(estimate: Estimate) -> dict[str, float]:
    return {**asdict(estimate), "floor": estimate.floor, "tokens_per_second": estimate.rate}


def _line(estimate: Estimate) -> str:
    ratio = estimate.seconds / estimate.floor
    return f"{_speed(estimate)} ({ratio:.2f} x the {1000 * estimate.floor:.2f} ms that reading weights and KV takes)"


def _speed(estimate: Estimate) -> str:
    return f"{1000 * estimate.seconds:8.2f} ms, {estimate.rate:8,.0f} tokens/s"


def _gib(size: float) -> str:
    return f"{size / 1024**3:7.2f} GiB"
