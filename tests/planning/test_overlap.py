"""Sums over devices beside copies of weights, in programs written by hand."""

from __future__ import annotations

import pytest

from jaxchat.planning.cost_model import all_reduce_seconds
from jaxchat.planning.hardware import parse_topology
from jaxchat.planning.hlo import Program
from jaxchat.planning.overlap import hidden_seconds

TOPOLOGY, DEVICES = parse_topology("v5e:2x4"), 8
CHIP = TOPOLOGY.chip
SUM = all_reduce_seconds(2 * 64 * 4096, TOPOLOGY, DEVICES)  # 9.2 us, in which memory gives 7.5 MB
COPY = "(bf16[SIZE]{0:T(1024)S(1)}, bf16[SIZE]{0:T(1024)}, u32[]{:S(2)}) copy-start(%w)"
SMALL, LARGE = COPY.replace("SIZE", "1000000"), COPY.replace("SIZE", "50000000")


def program(*lines):
    """Writes a program of `name = ...` lines; `+` is an all-reduce, `-name` waits for the copy of that name."""
    text = ["ENTRY %main (w: bf16[100000000]) -> bf16[64,4096] {", "  %w = bf16[100000000]{0} parameter(0)"]
    for number, line in enumerate(lines):
        if line == "+":
            line = f"sum.{number} = bf16[64,4096]{{1,0:T(8,128)S(1)}} all-reduce(%x), to_apply=%add"
        elif line.startswith("-"):
            line = f"done.{number} = bf16[1000000]{{0:T(1024)S(1)}} copy-done(%{line[1:]})"
        text.append(f"  %{line}")
    return Program("\n".join([*text, "}"]))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["+"], 0),  # nothing to read
        ([f"a = {SMALL}", "-a", "+"], 0),  # over before the sum
        (["+", f"a = {SMALL}", "-a"], 0),  # not begun yet
        ([f"a = {SMALL}", "+", "-a"], 2e6 / CHIP.bandwidth),
        ([f"a = {SMALL}", "+", "+", "-a"], 2e6 / CHIP.bandwidth),  # it is read once
        ([f"a = {SMALL}", f"b = {SMALL}", "-a", "+", "-b"], 2e6 / CHIP.bandwidth),
        ([f"a = {SMALL}", f"b = {SMALL}", "-b", "+", "-a"], 0),  # one after the other: a was over before b
        ([f"a = {LARGE}", "+", "-a"], SUM),
        ([f"a = {LARGE}", "+", "+", "-a", "+"], 2 * SUM),
    ],
)
def test_only_pending_copies_overlap_with_an_all_reduce(lines, expected):
    assert hidden_seconds(program(*lines), TOPOLOGY, DEVICES) == pytest.approx(expected)
