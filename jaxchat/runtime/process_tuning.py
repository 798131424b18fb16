"""Settings of the C library's allocator, which the whole process shares: for processes that only serve."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TRIM, _MAP, _MAPS, _ARENAS = -1, -3, -4, -8  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX of malloc.h
_SMALL, _LARGE = 1 << 20, 1 << 30  # bytes
_USUAL = 1 << 16  # arrays that may come from the system at a time
_ARENA = 1 << 26  # bytes that glibc's arena of one thread holds
_LOGIT = 32  # bytes that a step needs for each logit: its sampler has about eight arrays of them


@contextmanager
def release_freed_memory(logits: int = 0) -> Iterator[None]:
    """While inside, glibc gets each array of a megabyte or more from the system, and gives it back when it is freed.

    What it sets stays: glibc has no way back to its own thresholds. A library must not call it uninvited.

    Otherwise each thread keeps what it freed for itself: after an Orbax checkpoint that is a quarter of the weights.
    Afterwards glibc keeps what programs free, up to a gigabyte: each step wants it again, and fresh memory costs a
    fault for each of its pages (10 of 62 ms of 8 rows that sample, with half a billion weights). What does not fit into
    the arena of a thread would be fresh even so; then threads that begin from here on share one (30 of 112 ms of 32
    rows). They wait for it at times, so smaller steps leave each thread its own. Other C libraries are left alone.

    Args:
        logits: of the largest step to come, S times V; 0 where steps have memory of their own.
    """
    mallopt = _libc("mallopt")
    if mallopt is None:
        yield
        return
    if logits * _LOGIT > _ARENA:
        mallopt(_ARENAS, 1)
    mallopt(_MAPS, _USUAL)
    mallopt(_MAP, _SMALL)
    try:
        yield
    finally:
        mallopt(_MAPS, 0)
        mallopt(_TRIM, _LARGE)


@contextmanager
def trim_afterwards() -> Iterator[None]:
    """Gives freed memory back to the system at the end, once: no setting of the process changes."""
    try:
        yield
    finally:
        if trim := _libc("malloc_trim"):
            trim(0)


def _libc(name: str) -> Callable[..., int] | None:
    """A function of glibc; None for other C libraries."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
