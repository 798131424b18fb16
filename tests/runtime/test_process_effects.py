"""A library leaves the process as it found it: settings of jax, of the C library's allocator, listeners."""

from __future__ import annotations

import threading
from pathlib import Path

import jax
import pytest
from jax._src import monitoring  # its public part does not list the listeners

from jaxchat.api import load
from jaxchat.runtime import process_tuning
from jaxchat.runtime.compile import CompileCache

CACHE = "jax_compilation_cache_dir"


def listeners() -> list[object]:
    return [*monitoring.get_event_duration_listeners(), *monitoring.get_event_listeners()]


def settings() -> dict[str, object]:
    return dict(jax.config.values)


@pytest.mark.usefixtures("greedy_sampler")
def test_loading_and_closing_leave_nothing_behind(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    libc = process_tuning._libc

    def spied(name: str) -> object:
        asked.append(name)
        return libc(name)

    monkeypatch.setattr(process_tuning, "_libc", spied)
    before, listening = settings(), listeners()
    sizes = dict(slots=2, prefill_chunk=32, prefill_buckets=(32,), max_seq_len=64)
    with load(str(tiny_model), cache_dir=str(tmp_path), **sizes) as chat:
        assert settings() == before
        answer = chat.chat.completions.create(messages=[{"role": "user", "content": "Hi"}], max_tokens=2)
        assert answer.choices
    assert settings() == before
    assert listeners() == listening
    assert "mallopt" not in asked
    assert any(tmp_path.glob("jit_*")), "programs are kept for the next start"


def test_the_cache_is_restored_once_the_last_of_overlapping_loads_has_ended(tmp_path: Path) -> None:
    cache, before = CompileCache(), settings()
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with cache.kept_in(tmp_path / "b"):
            entered.set()
            leave.wait(10)

    with cache.kept_in(tmp_path / "a"):
        assert settings()[CACHE] == str(tmp_path / "a")
        thread = threading.Thread(target=other)
        thread.start()
        assert entered.wait(10)
    assert settings()[CACHE] == str(tmp_path / "b")
    leave.set()
    thread.join()
    assert settings() == before


def test_without_a_folder_nothing_changes() -> None:
    before = settings()
    with CompileCache().kept_in(None):
        assert settings() == before
