"""Reads a trace of `jax.profiler`: operations on the device, and marked phases on the host."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.profiling.kinds import Kinds

MARK = "jaxchat."


@dataclass(frozen=True)
class Span:
    """A span of time from `begin` to `end`, in milliseconds of the trace's clock."""

    kind: str
    begin: float
    end: float


@dataclass(frozen=True)
class Operation(Span):
    """An operation of a program on the device. A container, such as a loop or a branch, has operations inside."""

    program: str
    container: bool


@dataclass(frozen=True)
class Trace:
    """The operations of the device and the phases of the host, ordered by time, and the number of steps by program."""

    operations: list[Operation]
    phases: list[Span]
    steps: Counter[str]


def read(directory: Path, programs: Mapping[str, Kinds]) -> Trace:
    """Reads the newest trace in `directory` and its subfolders.

    Args:
        directory: folder that the profiler wrote to.
        programs: the programs to read: the `Kinds` of each, by the name of its HLO module. Operations of other programs
            are ignored.

    Raises:
        ValueError: the folders contain no trace.
    """
    traces = list(directory.rglob("*.trace.json.gz"))
    if not traces:
        raise ValueError(f"{directory}: no *.trace.json.gz here or below")
    path = max(traces, key=lambda file: file.stat().st_mtime)
    with gzip.open(path, "rt") as file:
        events = [event for event in json.load(file)["traceEvents"] if event.get("ph") == "X"]
    marks = [event for event in events if event["name"].startswith(MARK)]
    steps = Counter(event["args"]["call"] for event in marks if event["name"] == f"{MARK}dispatch")
    phases = (Span(event["name"].removeprefix(MARK), *_ends(event)) for event in marks)
    return Trace(sorted(_operations(events, programs), key=_begin), sorted(phases, key=_begin), steps)


def device_time(operations: Iterable[Operation]) -> dict[str, Counter[str]]:
    """Returns milliseconds by program and kind.

    Operations that run at the same time share that time, so that the sum is the time in which the device was busy. A
    container counts only while nothing inside it runs.
    """
    some = [op for op in operations if op.end > op.begin]
    changes = [(op.begin, True, op) for op in some] + [(op.end, False, op) for op in some]
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    inner: list[Operation] = []
    outer: list[Operation] = []
    last = 0.0
    for moment, begins, op in sorted(changes, key=lambda change: change[:2]):
        running = inner or outer[-1:]
        for other in running:
            totals[other.program][other.kind] += (moment - last) / len(running)
        last, stack = moment, outer if op.container else inner
        stack.append(op) if begins else stack.remove(op)
    return totals


def host_time(phases: Iterable[Span]) -> Counter[str]:
    """Returns milliseconds by phase. The time of a phase does not include the phases inside it."""
    totals: Counter[str] = Counter()
    around: list[Span] = []
    for span in phases:
        while around and around[-1].end <= span.begin:
            around.pop()
        if around:
            totals[around[-1].kind] -= span.end - span.begin
        totals[span.kind] += span.end - span.begin
        around.append(span)
    return totals


def _operations(events: list[dict[str, Any]], programs: Mapping[str, Kinds]) -> Iterable[Operation]:
    for event in events:
        args = event.get("args", {})
        program, name = args.get("hlo_module", ""), args.get("hlo_op", "")
        if program in programs:
            kinds = programs[program]
            yield Operation(kinds[name], *_ends(event), program.removeprefix("jit_"), name in kinds.containers)


def _ends(event: dict[str, Any]) -> tuple[float, float]:
    return event["ts"] / 1e3, (event["ts"] + event["dur"]) / 1e3


def _begin(span: Span) -> tuple[float, float]:
    return span.begin, -span.end
