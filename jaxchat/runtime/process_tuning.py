"""Settings of the C library's allocator, which the whole process shares. They are for processes that only serve."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TRIM, _MAP, _MAPS, _ARENAS = -1, -3, -4, -8  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX of malloc.h
_SMALL, _LARGE = 1 << 20, 1 << 30  # bytes
_USUAL = 1 << 16  # arrays that may be mapped from the system at a time
_ARENA = 1 << 26  # bytes that glibc's arena of one thread holds
_LOGIT = 32  # bytes that a step needs for each logit: its sampler has about eight arrays of logits


@contextmanager
def release_freed_memory(logits: int = 0) -> Iterator[None]:
    """Makes glibc return each array of a megabyte or more to the system when it is freed, within the context.

    The settings are permanent: glibc cannot restore its own thresholds. A library must not call this unasked. Other C
    libraries are not changed.

    Without this, each thread keeps what it frees: after an Orbax checkpoint, a quarter of the weights.

    After the context, glibc keeps freed memory, up to a gigabyte. Each step needs that memory again, and fresh memory
    costs a page fault per page. With half a billion weights, that is 10 of the 62 ms of 8 rows that sample.

    Memory beyond a thread's arena would be fresh in every step. If a step needs more, threads that start from here on
    share one arena. This saves 30 of the 112 ms of 32 rows. They sometimes wait for it, so with smaller steps each
    thread has a separate arena.

    Args:
        logits: number of logits of the largest later step, S times V; 0 if steps use other memory.
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
    """Returns a function of glibc; None for other C libraries."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
