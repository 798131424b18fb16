"""The folder for compiled programs: where it is, and what happens where it cannot be written."""

from __future__ import annotations

import errno
import logging
import tempfile
from pathlib import Path

import pytest

from jaxchat import cache
from jaxchat.cache import cache_folder


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """A home directory for each test, and no temporary folder of an earlier one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    cache._temporary.cache_clear()
    yield
    cache._temporary.cache_clear()


def read_only(*_, **__):
    raise OSError(errno.EROFS, "Read-only file system")


def homeless():
    raise RuntimeError("Could not determine home directory.")


def test_the_users_cache_folder(tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / ".cache" / "jaxchat" / "compiled"
    assert cache_folder().is_dir()
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")  # the specification has relative paths ignored
    assert cache_folder() == tmp_path / ".cache" / "jaxchat" / "compiled"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder() == tmp_path / "caches" / "jaxchat" / "compiled"


def test_a_named_folder(tmp_path):
    assert cache_folder(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
    assert cache_folder("~/c") == tmp_path / "c"
    assert cache_folder(None) is None


def test_an_empty_name_is_not_the_current_folder():
    with pytest.raises(ValueError, match="cache_dir must be"):
        cache_folder("")


def test_a_named_folder_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"^cache_dir: .*/file/x cannot be written \(Not a directory\)$"):
        cache_folder(str(tmp_path / "file" / "x"))
    (tmp_path / "full").mkdir()
    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    with pytest.raises(OSError, match=r"^cache_dir: .*/full cannot be written \(Read-only file system\)$"):
        cache_folder(str(tmp_path / "full"))


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda patch: patch.setattr(Path, "mkdir", read_only), "compiled cannot be written (Read-only file system)"),
        (lambda patch: patch.setenv("HOME", "/dev/null"), "compiled cannot be written (Not a directory)"),
        (lambda patch: patch.setenv("XDG_CACHE_HOME", "/dev/null"), "/dev/null/jaxchat/compiled cannot be written"),
        (lambda patch: patch.setattr(Path, "home", homeless), "Could not determine home directory."),
    ],
    ids=["read-only", "no directory", "no cache", "homeless"],
)
def test_a_default_folder_that_cannot_be_written_is_replaced_by_a_temporary_one(monkeypatch, caplog, broken, reason):
    with caplog.at_level(logging.WARNING):
        broken(monkeypatch)
        folder = cache_folder()
        assert cache_folder() == folder  # kernels and programs share it
    assert folder and folder.is_dir() and folder.is_relative_to(tempfile.gettempdir())
    [record] = caplog.records
    assert "not kept for the next start" in record.getMessage() and reason in record.getMessage()
    assert "Errno" not in record.getMessage()


def test_without_any_folder_nothing_is_kept(monkeypatch, caplog):
    monkeypatch.setattr(Path, "mkdir", read_only)
    monkeypatch.setattr(tempfile, "TemporaryDirectory", read_only)
    assert cache_folder() is None
    assert len(caplog.records) == 1
