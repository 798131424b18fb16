"""The simulation fills the slots, forces swaps where pages are few, and counts what it says it counts."""

from __future__ import annotations

from dataclasses import replace

from tools.bench.scale import Host, Load, loads


def find(name: str) -> Load:
    return next(load for load in loads(32, 40) if load.name == name and load.slots == 32)


def test_steady_decoding_is_of_all_slots_while_others_wait_and_leave() -> None:
    found = Host(find("decode")).run(50)
    assert (found.rows, found.swaps) == (32, 0)
    assert len(found.steps) == len(found.cancels) == 50 and min(found.steps) > 0


def test_nobody_leaves_an_empty_queue() -> None:
    assert Host(find("decode, empty queue")).run(5).cancels == []


def test_a_queue_may_have_one_place() -> None:
    assert len(Host(replace(find("decode"), queued=1)).run(5).cancels) == 5


def test_few_pages_force_swaps() -> None:
    assert Host(find("swapping")).run(1000).swaps > 0
