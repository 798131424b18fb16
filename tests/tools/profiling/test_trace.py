"""Moments are divided among what runs in them, and none is counted twice."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tools.profiling.kinds import Kinds
from tools.profiling.trace import Operation, Span, device_time, host_time, read


def operation(kind: str, begin: float, end: float, container: bool = False) -> Operation:
    return Operation(kind, begin, end, "decode", container)


def test_a_container_counts_only_while_nothing_inside_it_runs() -> None:
    operations = [operation("attention", 0, 10, container=True), operation("copies", 2, 5), operation("mlp", 10, 12)]
    assert device_time(operations) == {"decode": {"attention": 7, "copies": 3, "mlp": 2}}


def test_operations_that_overlap_share_the_time() -> None:
    operations = [operation("qkv", 0, 4), operation("mlp", 2, 6)]
    found = device_time(operations)["decode"]
    assert found == {"qkv": 3, "mlp": 3} and found.total() == pytest.approx(6)


def test_idle_time_belongs_to_nobody() -> None:
    assert device_time([operation("qkv", 1, 2), operation("qkv", 8, 9), operation("mlp", 8, 8)])["decode"].total() == 2


def test_a_phase_inside_another_is_taken_out_of_it() -> None:
    phases = [Span("dispatch", 0, 10), Span("pack", 1, 4), Span("wait", 10, 30), Span("dispatch", 30, 31)]
    assert host_time(phases) == {"dispatch": 8, "pack": 3, "wait": 20}


def test_a_trace_is_read_in_the_order_of_time(tmp_path: Path) -> None:
    def event(name: str, ts: float, dur: float, **args: str) -> dict[str, object]:
        return {"ph": "X", "name": name, "ts": ts, "dur": dur, "args": args}

    events = [
        event("jaxchat.wait", 3000, 500, call="wait"),
        event("jaxchat.dispatch", 1000, 2000, call="decode"),
        event("dot.1", 1500, 250, hlo_module="jit_decode", hlo_op="dot.1"),
        event("dot.1", 1500, 250, hlo_module="jit_other", hlo_op="dot.1"),
        event("PjitFunction", 0, 5000),
        {"ph": "M", "name": "process_name"},
    ]
    (tmp_path / "plugins").mkdir()
    with gzip.open(tmp_path / "plugins" / "a.trace.json.gz", "wt") as file:
        json.dump({"traceEvents": events}, file)
    trace = read(tmp_path, {"jit_decode": Kinds("")})
    assert trace.phases == [Span("dispatch", 1.0, 3.0), Span("wait", 3.0, 3.5)]
    assert trace.steps == {"decode": 1}
    assert trace.operations == [Operation("sampling", 1.5, 1.75, "decode", False)]
