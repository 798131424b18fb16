"""Plans as HTML for notebooks."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from jaxchat.html import Html, bar, element, table
from jaxchat.units import duration, large_number, memory_size, percent

if TYPE_CHECKING:
    from jaxchat.planning.cost_model import Estimate
    from jaxchat.planning.planner import Plan


def plan_html(plan: Plan) -> Html:
    """Returns a table of a plan: whether it fits, the memory of a device with bars, and the times of steps."""
    engine, chip = plan.engine, plan.topology.chip
    weights = f"{engine.quantize or engine.dtype} weights, KV in {engine.kv_dtype or engine.dtype}"
    slots = f"{engine.slots} slots of {plan.full_length:,} take {plan.full_capacity:,}"
    facts = [
        ("model", f"{large_number(plan.parameters)} parameters, {weights}"),
        ("devices", f"{plan.topology.name}, {plan.replicas} x {engine.tensor_parallel} of {plan.topology.devices}"),
        ("fits", plan.verdict),
        ("KV capacity", f"{plan.capacity:,} tokens; {slots}"),
    ]
    sizes = {**asdict(plan.memory), "total": plan.memory.total}
    memory = [
        (name, memory_size(size), percent(size / chip.memory), bar(size / chip.memory)) for name, size in sizes.items()
    ]
    steps = [
        _step("decode, 1 sequence", plan.decode_one),
        _step(f"decode, {engine.slots} sequences", plan.decode_full),
        _step(f"prefill, {engine.prefill_chunk} tokens", plan.prefill),
    ]
    return element(
        "div",
        table(facts),
        table(memory, ("memory of a device", f"of {memory_size(chip.memory)}", "", "")),
        table(steps, ("step", "time", "tokens per second", "its reads alone")),
    )


def _step(name: str, estimate: Estimate) -> tuple[str, str, str, str]:
    return name, duration(estimate.seconds), f"{estimate.rate:,.0f}", duration(estimate.floor)
