"""The compiler options, and the count of compiled programs."""

from __future__ import annotations

import gc
from pathlib import Path

import jax
import pytest
from jax._src import monitoring  # its public part does not list the listeners

from jaxchat.api import load
from jaxchat.runtime.compile import CompileCounter, options


@pytest.mark.parametrize("platform", ["cpu", "tpu", "gpu"])
def test_this_version_of_the_compiler_knows_the_options(platform: str) -> None:
    assert jax.jit(lambda x: x + 1).lower(1).compile(options(platform))(1) == 2
    assert (options(platform) is None) == (platform == "tpu")


def listeners() -> int:
    return len(monitoring.get_event_duration_listeners())


def test_a_counter_counts_what_its_thread_compiles() -> None:
    counter = CompileCounter()
    jax.jit(lambda x: x * 3).lower(1).compile()
    assert counter.count == 0
    counter.watch()
    jax.jit(lambda x: x * 5).lower(1).compile()
    assert counter.count == 1


def test_a_counter_that_nobody_has_listens_no_more() -> None:
    gc.collect()
    before = listeners()
    counter = CompileCounter()
    assert listeners() == before + 1
    del counter
    gc.collect()
    assert listeners() == before


def test_an_engine_that_was_closed_leaves_no_listener(tiny_model: Path) -> None:
    gc.collect()
    before = listeners()
    with load(str(tiny_model), slots=2, prefill_chunk=32, max_seq_len=64) as chat:
        assert listeners() == before + 1
    del chat
    gc.collect()
    assert listeners() == before


def test_removing_all_listeners_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = CompileCounter()
    monkeypatch.setattr(monitoring, "_event_duration_secs_listeners", [])
    del counter
    gc.collect()
