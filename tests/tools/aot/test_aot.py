"""The bounds of the check ahead of time on made-up costs, and a real compile where the TPU compiler is installed."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from jaxchat.planning.aot import AotEngine, ProgramCosts
from jaxchat.planning.hardware import parse_topology
from jaxchat.planning.hlo import Collective
from jaxchat.planning.model_shapes import read_shape
from jaxchat.planning.planner import make_plan, suggest_config
from tools.aot.__main__ import BOUNDS, check_program, unexpected, write
from tools.aot.cases import CASES, Case

CASE = Case(model="llama-3-8b", topology="v5e:2x4")
TOPOLOGY, MODEL = parse_topology(CASE.topology), read_shape(CASE.model)
PLAN = make_plan(MODEL, TOPOLOGY, suggest_config(TOPOLOGY))
SUM = Collective("all-reduce.1", "all-reduce", 10**6, True)
GOOD = ProgramCosts(
    name="decode[64]",
    seconds=30.0,
    arguments=PLAN.memory.weights + PLAN.memory.pages,
    temporary=10**7,
    code=10**7,
    aliased=PLAN.memory.pages,
    donated=PLAN.memory.pages,
    traffic=PLAN.memory.weights,
    flops=1e12,
    cycles=2e7,
    collectives=(SUM,),
    hidden_seconds=0.0,
    kernels={},
)


def judge(code=10**7, **changes):
    slots = SimpleNamespace(sampling=SimpleNamespace(counts=SimpleNamespace(shape=(64, 129_024))))
    cost = SimpleNamespace(estimate=lambda tokens, sequences, length: PLAN.decode_full)
    aot = SimpleNamespace(program_specs={"decode[64]": SimpleNamespace(rows=64)}, slots=slots, cost=cost)
    return check_program(CASE, PLAN, aot, replace(GOOD, **changes), code)


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, set()),
        ({"temporary": 20 * 1024**3}, {"fits"}),
        ({"code": 20 * 1024**3}, {"fits"}),
        ({"aliased": PLAN.memory.pages - 1}, {"aliased"}),
        ({"collectives": (Collective("g", "all-gather", 512, True),)}, {"gathers"}),
        ({"collectives": (Collective("g", "all-gather", 512, False),)}, set()),
        ({"collectives": (Collective("g", "all-gather", 4 * 64 * 129_024, False),)}, {"gathers"}),
        ({"traffic": 2 * PLAN.memory.weights}, {"reads", "step"}),
        ({"collectives": (replace(SUM, size=10**8),)}, {"step"}),
        ({"collectives": (replace(SUM, size=10**8),), "hidden_seconds": 1.7e-3}, set()),  # of 1.75 ms
    ],
)
def test_each_bound_fails_alone(changes, failed):
    assert judge(**changes).failed == failed


def test_only_known_failures_pass():
    failing = judge(collectives=(replace(SUM, size=10**8),))
    known = replace(CASE, known=(("step", "sums are in f32"),))
    assert "fails step" in unexpected(CASE, [failing])[0]
    assert unexpected(known, [failing]) == [] == unexpected(CASE, [judge()])
    assert "step holds now" in unexpected(known, [judge()])[0]


def test_the_table_replaces_the_old_one(tmp_path):
    document = tmp_path / "tpu.md"
    document.write_text("before\n<!-- aot begin -->\nstale\n<!-- aot end -->\nafter\n")
    known = replace(CASE, known=(("step", "sums are in f32"),))
    other = replace(CASE, topology="v6e:2x4")
    for results in ([replace(judge(), case=other)], [replace(judge(), case=known)]):
        write(results, [known, other], document)
    text = document.read_text()
    assert text.index("| v5e:2x4 |") < text.index("| v6e:2x4 |")  # kept, though the second run had no result of it
    assert text.startswith("before\n") and text.endswith("after\n") and "stale" not in text
    assert text.count("| llama-3-8b | v5e:2x4 | decode[64] |") == 1
    assert "- llama-3-8b on v5e:2x4, step: sums are in f32." in text


def test_cases_can_be_planned_and_their_known_failures_are_bounds():
    for case in CASES:
        topology = parse_topology(case.topology)
        plan = make_plan(
            read_shape(case.model),
            topology,
            suggest_config(topology, slots=case.slots, max_seq_len=case.context, quantize=case.quantize),
        )
        assert plan.fits and plan.replicas == 1
        assert {name for name, _ in case.known} <= BOUNDS.keys()


@pytest.mark.skipif(find_spec("libtpu") is not None, reason="the TPU compiler is installed")
def test_without_the_tpu_compiler_the_error_says_what_is_missing():
    with pytest.raises(ValueError, match="needs the TPU compiler"):
        AotEngine(MODEL, TOPOLOGY, PLAN.engine)


@pytest.mark.skipif(find_spec("libtpu") is None, reason="the TPU compiler is not installed")
def test_a_small_model_compiles_within_the_bounds():
    model = replace(MODEL, num_layers=2, kinds=MODEL.kinds[:2])
    plan = make_plan(model, TOPOLOGY, suggest_config(TOPOLOGY))
    aot = AotEngine(model, TOPOLOGY, plan.engine)
    costs = aot.compile("decode[64]")
    found = check_program(CASE, plan, aot, costs, costs.code)
    assert not found.failed & {"fits", "aliased", "gathers"}
