"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from jaxchat.api import Chat, load
from jaxchat.runtime.compiling import cache_folder, use_cache
from tests import tiny

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """A home of this run's own, for the cache in it: what a test or its processes compile, no other compiles again."""
    if not hasattr(config, "workerinput"):  # workers of a parallel run inherit it
        home = tempfile.TemporaryDirectory(prefix="jaxchat-home-", ignore_cleanup_errors=True)
        config.add_cleanup(home.cleanup)
        os.environ["HOME"] = home.name
        os.environ.pop("XDG_CACHE_HOME", None)
    use_cache(cache_folder(""))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a tiny random model."""
    return tiny.write(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_chat(tiny_model: Path) -> Iterator[Chat]:
    """An engine of 4 slots on the tiny model, shared by all tests that leave it as they found it."""
    with load(str(tiny_model), slots=4, chunk=32) as chat:
        yield chat
