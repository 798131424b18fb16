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
    """Sets HOME to a folder for tests, whose caches later processes and runs use again.

    Cached programs and kernels are found by a digest of everything that decides them, so those of older runs are not
    wrong.
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
    """Runs files with a test marked `first` before all others, so that no worker ends with a long file."""
    leading = {item.path for item in items if item.get_closest_marker("first")}
    items.sort(key=lambda item: item.path not in leading)


def pytest_collection_finish() -> None:
    """Excludes the objects that imports have created from garbage collection, which would otherwise take a second each
    time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def forgetting() -> Iterator[None]:
    """Drops compiled programs once the process is large. jax would keep gigabytes of them until the end of the run."""
    yield
    if psutil.Process().memory_info().rss < MUCH:
        return
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


@pytest.fixture
def greedy_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes models that the test loads sample greedily, so that their programs compile faster."""
    monkeypatch.setattr("jaxchat.runtime.load.sample", greedy.greedy)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes a tiny random model and returns its directory."""
    return tiny.write(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_client(tiny_model: Path) -> Iterator[Client]:
    """Yields a client of an engine with 4 slots on the tiny model. Tests that share it must leave it idle."""
    with load(str(tiny_model), slots=4, prefill_chunk=32) as client:
        yield client
