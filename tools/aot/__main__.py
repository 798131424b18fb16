"""Compiles an engine's programs for TPUs that are not present, and checks the result. `make aot`

Each program must fit into memory beside the KV pages, and update pages and slots in place. All-gathers may occur only
inside branches, and each must be smaller than a device's share of the logits. At the chip's peak rates, each decode
step must take at most 1.15 times as long as reading weights and KV once. The exit status is 0 if the bounds that fail
are exactly those that `tools.aot.cases` lists as known to fail, and 1 otherwise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from jaxchat.planning.aot import AotEngine, ProgramCosts
from jaxchat.planning.cost_model import all_reduce_seconds
from jaxchat.planning.hardware import parse_topology
from jaxchat.planning.model_shapes import read_shape
from jaxchat.planning.planner import Plan, make_plan, suggest_config
from tools.aot.cases import CASES, Case

GIB = 1024**3
NEAR = 1.15
HEAD = """\
| model | slice | program | memory, GiB of | temporary, MiB | moved, GB | cycles, M | sums, MB | hidden | reads | step \
| holds |
|---|---|---|---|---|---|---|---|---|---|---|---|"""
BOUNDS = {
    "fits": "arguments, temporaries and the code of all programs fit into a device's memory",
    "aliased": "KV pages and slots are updated in place",
    "gathers": "no all-gather outside branches, and none in them as large as a device's share of the logits",
    "reads": f"a decode step without all-reduces takes at most {NEAR} x as long as reading weights and KV once",
    "step": f"the same with the all-reduces that run while nothing else does: at most {NEAR} x",
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """The check of one compiled program of a case.

    Attributes:
        case: the case.
        plan: the plan of the case.
        costs: the compiler's costs of the program.
        memory: bytes on a device while the program runs and all others are loaded.
        reads: time of a decode step without all-reduces, divided by the time to read weights and KV once. None for
            prefill.
        step: time of a decode step with all-reduces, divided in the same way.
        failed: names of the bounds that do not hold.
    """

    case: Case
    plan: Plan
    costs: ProgramCosts
    memory: int
    reads: float | None
    step: float | None
    failed: frozenset[str]


def check(case: Case) -> list[Result]:
    """Compiles all programs of a case and checks each. Raises ValueError if the TPU compiler is missing."""
    topology, model = parse_topology(case.topology), read_shape(case.model)
    engine = suggest_config(topology, slots=case.slots, max_seq_len=case.context, quantize=case.quantize)
    plan = make_plan(model, topology, engine)
    aot = AotEngine(model, topology, plan.engine)
    programs = [aot.compile(name) for name in aot.program_specs]
    return [check_program(case, plan, aot, costs, sum(one.code for one in programs)) for costs in programs]


def check_program(case: Case, plan: Plan, aot: AotEngine, costs: ProgramCosts, code: int) -> Result:
    """Returns the check of one program against `BOUNDS`. Assumes that decoded sequences fill half of the context.

    Args:
        case: the case that the program belongs to.
        plan: the plan of the case.
        aot: the engine of the case.
        costs: the compiler's costs of the program.
        code: bytes of code in all the engine's programs, which are loaded together.
    """
    chip, rows = plan.topology.chip, aot.program_specs[costs.name].rows
    least = aot.cost.estimate(rows, rows, plan.full_length // 2)
    decodes = costs.name.startswith("decode")
    reads = costs.local_seconds(least.kv, chip) / least.floor if decodes else None
    step = costs.step_seconds(least.kv, plan.topology, plan.engine.tensor_parallel) / least.floor if decodes else None
    memory = costs.arguments + costs.temporary + code
    gathers = [one for one in costs.collectives if one.kind == "all-gather"]
    share = 4 * rows * aot.slots.sampling.counts.shape[1] // plan.engine.tensor_parallel
    holds = {
        "fits": memory <= chip.memory,
        "aliased": costs.aliased >= costs.donated,
        "gathers": not any(one.always or one.size >= share for one in gathers),
        "reads": reads is None or reads <= NEAR,
        "step": step is None or step <= NEAR,
    }
    failed = frozenset(name for name, good in holds.items() if not good)
    return Result(case=case, plan=plan, costs=costs, memory=memory, reads=reads, step=step, failed=failed)


def row(one: Result) -> str:
    """Returns a result as one row of the Markdown table."""
    costs, chip = one.costs, one.plan.topology.chip
    sums = all_reduce_seconds(costs.all_reduced_bytes, one.plan.topology, one.plan.engine.tensor_parallel)
    hidden = "-" if one.step is None or not sums else f"{costs.hidden_seconds / sums:.0%}"
    verdict = "yes" if not one.failed else f"**not {', '.join(sorted(one.failed))}**"
    return (
        f"{_begin(one.case)} {costs.name} | {one.memory / GIB:.2f} of {chip.memory / GIB:.2f} "
        f"| {costs.temporary / 1024**2:.0f} | {costs.traffic / 1e9:.2f} | {costs.cycles / 1e6:.1f} "
        f"| {costs.all_reduced_bytes / 1e6:.1f} | {hidden} "
        f"| {_times(one.reads)} | {_times(one.step)} | {verdict} |"
    )


def unexpected(case: Case, results: list[Result]) -> list[str]:
    """Returns a sentence for each bound that fails unexpectedly, or that holds although it is known to fail."""
    failed = frozenset().union(*(one.failed for one in results))
    known = {name for name, _ in case.known}
    place = f"{case.name} on {case.topology}"
    new = [f"{place}: fails {name}: {BOUNDS[name]}" for name in sorted(failed - known)]
    return new + [f"{place}: {name} holds now; take it from the list" for name in sorted(known - failed)]


def write(results: list[Result], cases: Sequence[Case], target: Path) -> None:
    """Replaces the table between the marks in a document, and the list of bounds known to fail that follows the table.

    Cases without a result keep their old rows.

    Args:
        results: the new results.
        cases: the cases of the table, in the order of its rows.
        target: the document.

    Raises:
        ValueError: a mark is missing or occurs twice.
    """
    begin, end = "<!-- aot begin -->", "<!-- aot end -->"
    head, remainder = target.read_text("utf-8").split(begin)
    old, tail = remainder.split(end)
    lines: list[str] = []
    for case in cases:
        new = [row(one) for one in results if one.case == case]
        lines += new or [line for line in old.splitlines() if line.startswith(_begin(case))]
    known = [f"- {case.name} on {case.topology}, {name}: {why}." for case in cases for name, why in case.known]
    target.write_text("\n".join([head + begin, HEAD, *lines, "", *known, end + tail]), "utf-8")


def main() -> int:
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools.aot", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="check only the cases whose 'model topology' contains this text")
    parser.add_argument("--write", type=Path, help="document to put the table into")
    parser.add_argument("--jobs", type=int, default=1, help="number of cases to check at a time")
    args = parser.parse_args()
    cases = [case for case in CASES if args.only in f"{case.name} {case.topology}"]
    results: list[Result] = []
    surprises: list[str] = []
    with ThreadPoolExecutor(args.jobs) as pool:
        for case, checked in zip(cases, pool.map(check, cases), strict=True):
            seconds = ", ".join(f"{one.costs.name} {one.costs.seconds:.0f} s" for one in checked)
            print(f"{case.name} on {case.topology}: compiled {seconds}", file=sys.stderr, flush=True)
            results += checked
            surprises += unexpected(case, checked)
    print("\n".join([HEAD, *map(row, results)]))
    if args.write:
        write(results, CASES, args.write)
    print("\n".join(["", *surprises]) if surprises else "\nall as expected")
    return 1 if surprises else 0


def _begin(case: Case) -> str:
    return f"| {case.name} | {case.topology} |"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


if __name__ == "__main__":
    sys.exit(main())
