"""Fixtures shared by all tests."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import psutil
import pytest
from hypothesis import settings

from jaxchat.api import load
from jaxchat.cache import cache_folder
from jaxchat.client import Client
from tests import greedy, tiny

HOME_LIMIT, MUCH = 4 << 30, 3 << 29  # bytes

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


def size(folder: Path) -> int:
    """Returns the bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def pytest_configure(config: pytest.Config) -> None:
    """A home of the tests' own, for the cache in it: what one test, process or run compiles, no other compiles again.

    Compiled programs and kernels are found by all that decides them, so those of an older run are never wrong.
    """
    if not hasattr(config, "workerinput"):  # workers of a parallel run inherit it
        home = config.rootpath / ".pytest_home"
        if home.is_dir() and size(home) > HOME_LIMIT:
            shutil.rmtree(home)
        home.mkdir(exist_ok=True)
        os.environ["HOME"] = str(home)
        os.environ.pop("XDG_CACHE_HOME", None)
    jax.config.update("jax_compilation_cache_dir", str(cache_folder()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with a test that is marked `first` lead, so that no worker is left with a long one at the end."""
    leading = {item.path for item in items if item.get_closest_marker("first")}
    items.sort(key=lambda item: item.path not in leading)


def pytest_collection_finish() -> None:
    """Excludes what the imports have made from garbage collection, which takes a second otherwise."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def forgetting() -> Iterator[None]:
    """Drops what tests have compiled, once it is much. jax would keep it, gigabytes of it, until the end of the run."""
    yield
    if psutil.Process().memory_info().rss < MUCH:
        return
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


@pytest.fixture
def greedy_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that the test loads sample greedily, so that their programs compile soon."""
    monkeypatch.setattr("jaxchat.runtime.load.sample", greedy.greedy)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a tiny random model."""
    return tiny.write(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_client(tiny_model: Path) -> Iterator[Client]:
    """An engine of 4 slots on the tiny model, shared by all tests that leave it as they found it."""
    with load(str(tiny_model), slots=4, prefill_chunk=32) as client:
        yield client
