"""The folder that keeps compiled programs and kernels from one start to the next."""

from __future__ import annotations

import functools
import logging
import os
import tempfile
from pathlib import Path

from jaxchat.config import AUTO

logger = logging.getLogger(__name__)


def cache_folder(cache_dir: str | None = AUTO) -> Path | None:
    """Creates the folder that `EngineConfig.cache_dir` means.

    The default folder is replaced by a temporary one where it cannot be written: the next start then takes as long as
    the first.

    Args:
        cache_dir: a path, `jaxchat.config.AUTO` for the user's cache folder, or None for no folder.

    Returns:
        The folder. None when `cache_dir` is None, and when a temporary folder cannot be made either.

    Raises:
        OSError: `cache_dir` is a path that cannot be written.
        ValueError: `cache_dir` is empty, which would mean the current folder.
    """
    if cache_dir == "":
        raise ValueError("cache_dir must be a non-empty string or None, got ''")
    if cache_dir is None:
        return None
    if cache_dir == AUTO:
        return _users()
    try:
        return _writable(Path(cache_dir).expanduser())
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home directory
        raise OSError(f"cache_dir: {error}") from None


def keep(path: Path, content: bytes) -> None:
    """Writes a file of the cache, under another name first: another process may be reading it, or writing the same.

    Raises:
        OSError: it cannot be written; the disk may be full, or read-only. An earlier file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(suffix=path.suffix, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(unfinished, path)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def _users() -> Path | None:
    """The user's cache folder, or a temporary one that lasts as long as the process."""
    try:
        return _writable(_default())
    except (OSError, RuntimeError) as error:
        return _temporary(str(error))


def _default() -> Path:
    # The only setting that the library takes from the environment, as `Path.home()` does from HOME: what the command
    # line has compiled must be found in a notebook too.
    base = os.environ.get("XDG_CACHE_HOME", "")
    caches = Path(base) if os.path.isabs(base) else Path.home() / ".cache"  # relative paths are to be ignored
    return caches / "jaxchat" / "compiled"


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise OSError(f"{folder} cannot be written ({error.strerror})") from None


@functools.cache
def _temporary(reason: str) -> Path | None:
    logger.warning("compiled programs and kernels are not kept for the next start: %s", reason)
    try:
        _held.append(tempfile.TemporaryDirectory(prefix="jaxchat-", ignore_cleanup_errors=True))
    except OSError:
        return None
    return Path(_held[-1].name)


_held: list[tempfile.TemporaryDirectory[str]] = []  # each is removed when the process ends
