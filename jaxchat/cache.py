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
    """Creates the folder that `EngineConfig.cache_dir` names.

    If the user's cache folder cannot be written, creates a temporary folder in its place. The next start then takes as
    long as the first.

    Args:
        cache_dir: a path, `jaxchat.config.AUTO` for the user's cache folder, or None for no folder.

    Returns:
        The folder. None if `cache_dir` is None, or if not even a temporary folder can be created.

    Raises:
        OSError: `cache_dir` is a path that cannot be created or written.
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
    except (OSError, RuntimeError) as error:  # RuntimeError: the home directory is unknown
        raise OSError(f"cache_dir: {error}") from None


def scratch_folder(cache_dir: str | None = AUTO) -> Path:
    """Returns the folder of `cache_folder`, or a temporary one that lasts as long as the process.

    Raises:
        OSError: `cache_dir` is a path that cannot be created or written, or no temporary folder can be created.
        ValueError: `cache_dir` is empty.
    """
    return cache_folder(cache_dir) or _new_temporary()


def keep(path: Path, content: bytes) -> None:
    """Writes a file of the cache atomically, because another process may be reading or writing the same file.

    Raises:
        OSError: the file cannot be written, for example because the disk is full. An earlier file stays unchanged.
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
    """Returns the user's cache folder, or a temporary one that lasts as long as the process.

    Returns None if neither is possible.
    """
    try:
        return _writable(_default())
    except (OSError, RuntimeError) as error:
        return _temporary(str(error))


def _default() -> Path:
    # This is the only setting that the library reads from the environment, as `Path.home()` reads HOME: a notebook
    # must find what the command line has compiled.
    base = os.environ.get("XDG_CACHE_HOME", "")
    caches = Path(base) if os.path.isabs(base) else Path.home() / ".cache"  # the specification ignores relative paths
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
        return _new_temporary()
    except OSError:
        return None


def _new_temporary() -> Path:
    _temporary_folders.append(tempfile.TemporaryDirectory(prefix="jaxchat-", ignore_cleanup_errors=True))
    return Path(_temporary_folders[-1].name)


_temporary_folders: list[tempfile.TemporaryDirectory[str]] = []  # each is removed when the process ends
