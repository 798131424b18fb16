"""Building the library of kernels, with small sources: what the cache keeps, and the effect of a full disk."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from jaxchat.kernels.cpp import build

library = build.library.__wrapped__  # not cached
full = OSError(errno.ENOSPC, "No space left on device")


def disk_full(*_, **__):
    raise full


@pytest.fixture(autouse=True)
def sources(tmp_path, monkeypatch):
    """Writes two sources with one function each."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for number, name in enumerate(("one", "two"), 1):
        (folder / f"{name}.cc").write_text(f'extern "C" int {name}() {{ return {number}; }}\n')
    monkeypatch.setattr(build, "FOLDER", folder)
    if not any(map(shutil.which, build.COMPILERS)):
        pytest.skip("there is no C++ compiler")
    return folder


def works(loaded) -> bool:
    return (loaded.one(), loaded.two()) == (1, 2)


def test_all_sources_are_built_at_the_same_time_and_kept(tmp_path, monkeypatch):
    started, popen = [], subprocess.Popen

    def note(command, **options):
        process = popen(command, **options)
        started.append((command, [other.poll() for _, _, other in started if "-c" in other.args], process))
        return process

    monkeypatch.setattr(subprocess, "Popen", note)
    assert not build.is_built(tmp_path / "kept")
    loaded, identity = library(tmp_path / "kept")
    assert works(loaded) and build.is_built(tmp_path / "kept")
    assert os.listdir(tmp_path / "kept") == [f"kernels-{identity}.so"]
    compiles = [others for command, others, _ in started if "-c" in command]
    assert compiles[0] == [] and compiles[1] == [None]  # the first still ran when the second began
    started.clear()
    assert works(library(tmp_path / "kept")[0])
    assert not [command for command, *_ in started if "-c" in command]


def test_a_full_disk_costs_no_more_than_the_next_start(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(os, "replace", disk_full)
    with caplog.at_level(logging.WARNING):
        loaded, _ = library(tmp_path / "kept")
    assert works(loaded) and os.listdir(tmp_path / "kept") == []
    [record] = caplog.records
    assert "not kept for the next start" in record.getMessage() and "No space left" in record.getMessage()


def test_a_folder_that_cannot_be_written_is_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        assert works(library(Path("/dev/null/x"))[0])
    assert len(caplog.records) == 1


def test_without_room_for_the_compiler_there_are_no_kernels(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryDirectory", disk_full)
    with pytest.raises(build.NativeError, match=r"cannot be built .*No space left on device"):
        library(tmp_path)


def test_what_the_compiler_says_is_in_the_error(sources, tmp_path):
    (sources / "two.cc").write_text("this is no C++\n")
    with pytest.raises(build.NativeError, match=r"failed: .*two\.cc"):
        library(tmp_path)
