"""Memory that was freed goes back to the system while weights are loaded."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM, _MAP, _MAPS = -1, -3, -4  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_MMAP_MAX of malloc.h
_SMALL, _LARGE = 1 << 20, 1 << 30  # bytes
_USUAL = 1 << 16  # arrays that may come from the system at a time


@contextmanager
def freeing() -> Iterator[None]:
    """While inside, glibc gets each array of a megabyte or more from the system, and gives it back when it is freed.

    Otherwise each thread keeps what it freed for itself: after an Orbax checkpoint that is a quarter of the weights.
    Afterwards glibc keeps what programs free, up to a gigabyte: each step wants it again, and fresh memory costs a
    fault for each of its pages (10 of 62 ms of 8 rows that sample, with half a billion weights). Other C libraries are
    left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        yield
        return
    mallopt(_MAPS, _USUAL)
    mallopt(_MAP, _SMALL)
    try:
        yield
    finally:
        mallopt(_MAPS, 0)
        mallopt(_TRIM, _LARGE)
