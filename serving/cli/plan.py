"""Estimate the memory and speed of a model on a slice of accelerators, before renting it.

Needs only the model's configuration, neither weights nor a device. Times assume the makers' peak rates, so real times
are longer. Decode and prefill are estimated for sequences that already fill half of the context.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxchat.units import duration, large_number, memory_size
from serving.cli.environment import quiet_compiler
from serving.cli.flags import optional, to_flags

if TYPE_CHECKING:
    from jaxchat.api import Estimate, Plan
    from jaxchat.config import EngineConfig

_ELSEWHERE = "path/to/"  # where the user keeps the model of a known shape


def add_arguments(parser: argparse.ArgumentParser) -> None:
    text = "a directory with config.json, a config file, a GGUF file, 'bundled', or a known shape such as llama-3-8b"
    parser.add_argument("model", metavar="MODEL", help=text)
    text = "accelerators, such as v5e:2x4, v6e:2x4, v5p:2x2x2 or h200:8"
    parser.add_argument("--topology", required=True, metavar="CHIPS", help=text)
    parser.add_argument(
        "--slots", type=int, default=64, metavar="N", help="sequences that decode together (default: 64)"
    )
    text = "maximum prompt plus answer (default: the model's limit, at most 8192)"
    parser.add_argument("--max-seq-len", type=optional(int), default=None, metavar="TOKENS", help=text)
    text = "precision of weights and KV pages (default: bfloat16)"
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help=text)
    text = "int8 rounds keys and values to 8 bits for each token and head (default: none, as --dtype)"
    parser.add_argument("--kv-dtype", type=optional(str), choices=("int8", None), metavar="{int8,none}", help=text)
    text = "rounds weights to 8 or 4 bits (default: none, as the model is stored)"
    parser.add_argument(
        "--quantize", type=optional(str), choices=("int8", "int4", None), metavar="{int8,int4,none}", help=text
    )
    text = "get memory and step times from the TPU compiler, which takes minutes: pip install 'jaxchat[tpu]'"
    parser.add_argument("--compile", action="store_true", help=text)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(args: argparse.Namespace) -> int:
    """Prints the plan. Returns 0 if the model fits, 1 if not. Raises the exceptions of `jaxchat.api.plan`."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the plan is for hardware that this machine need not have
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # only the compiler is used, and several may run at once
    quiet_compiler()
    from jaxchat.api import plan  # imports jax

    sizes = dict(slots=args.slots, max_seq_len=args.max_seq_len)
    precision = dict(dtype=args.dtype, kv_dtype=args.kv_dtype, quantize=args.quantize)
    result = plan(args.model, args.topology, **sizes, **precision, compiled=args.compile)
    print(json.dumps(facts(args.model, result), indent=2) if args.json else table(args.model, result))
    return 0 if result.fits else 1


def facts(model: str, plan: Plan) -> dict[str, Any]:
    """Returns the plan as JSON values. Memory is in bytes on each device, and times are in seconds."""
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
    """Returns the plan as a plain-text table."""
    engine, chip = plan.engine, plan.topology.chip
    preposition = "on" if plan.replicas == 1 else "each on"
    placement = f"{preposition} {engine.tensor_parallel} of {plan.topology.devices} devices"
    rows = [
        ("model", f"{model}, {large_number(plan.parameters)} parameters, {_precision(engine)}"),
        ("devices", f"{plan.topology.name}: {plan.replicas} replica{'s' * (plan.replicas > 1)} {placement}"),
        ("attention", plan.attention),
        ("fits", plan.verdict),
        ("", ""),
        ("memory on a device", f"{_size(plan.memory.total)} of {memory_size(chip.memory)}"),
        *((f"  {name}", _size(size)) for name, size in asdict(plan.memory).items()),
        (
            "KV capacity",
            f"{plan.capacity:,} tokens; {engine.slots} slots of {plan.full_length:,} take {plan.full_capacity:,}",
        ),
        ("", ""),
        ("decode, 1 sequence", _line(plan.decode_one)),
        (f"decode, {engine.slots} sequences", _line(plan.decode_full)),
        (f"prefill, {engine.prefill_chunk} tokens", _speed(plan.prefill)),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}".rstrip() for name, value in rows]
    return "\n".join([*lines, *_serving(model, plan)])


def _serving(model: str, plan: Plan) -> list[str]:
    """Returns lines that say how to serve the model. The command is a line that can be copied as a whole."""
    if not plan.fits:
        return []
    servable, hosts = _servable(model), plan.topology.hosts(plan.engine.tensor_parallel)
    servers = plan.replicas // plan.engine.data_parallel
    notes = []
    if servable.startswith(_ELSEWHERE):
        notes.append(f"with the directory of your copy of the model in place of {servable}")
    if hosts > 1:
        last = f"to {hosts - 1}" if hosts > 2 else "and 1"
        notes.append(f"on each of {hosts} hosts, with their numbers 0 {last} for I and host 0's address for HOST")
    if servers > 1:
        notes.append(f"{servers} times, for {plan.replicas} replicas")
    return ["", f"To serve it{', ' * bool(notes)}{'; '.join(notes)}:", command(model, plan)]


def command(model: str, plan: Plan) -> str:
    """Returns the command that serves one copy of the model in the plan.

    If the plan needs several hosts, the command has two placeholders. Replace I by the host's number, counted from 0.
    Replace HOST by the address of host 0. For a known shape, the model is `path/to/` and its name.
    """
    engine = plan.engine
    hosts = plan.topology.hosts(engine.tensor_parallel)
    multihost = f" --processes {hosts} --process-id I --coordinator HOST:8476" if hosts > 1 else ""
    return f"jaxchat serve --model {shlex.quote(_servable(model))} {shlex.join(to_flags(engine))}{multihost}"


def _servable(model: str) -> str:
    """Returns the value for `jaxchat serve --model`.

    This is the directory of a `config.json`, `path/to/` with the name of a known shape, and otherwise `model` itself.
    """
    path = Path(model).expanduser()
    if model.lower() == "bundled" or path.is_dir():
        return model
    if path.is_file():
        return str(path.parent) if path.name == "config.json" else model
    return _ELSEWHERE + model


def _precision(engine: EngineConfig) -> str:
    weights = f"{engine.quantize} and {engine.dtype}" if engine.quantize else engine.dtype
    return f"{weights}, KV in {engine.kv_dtype}" if engine.kv_dtype else weights


def _facts_of(estimate: Estimate) -> dict[str, float]:
    return {**asdict(estimate), "floor": estimate.floor, "tokens_per_second": estimate.rate}


def _line(estimate: Estimate) -> str:
    ratio = estimate.seconds / estimate.floor
    return f"{_speed(estimate)} ({ratio:.2f} x the {duration(estimate.floor)} for reading weights and KV)"


def _speed(estimate: Estimate) -> str:
    return f"{duration(estimate.seconds):>9}, {estimate.rate:10,.0f} tokens/s"


def _size(size: float) -> str:
    return f"{memory_size(size):>12}"
