"""Memory that was freed goes back to the system while weights are loaded."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_SMALL, _LARGE = 1 << 20, 1 << 25  # bytes; the second is the most that glibc comes to by itself


@contextmanager
def freeing() -> Iterator[None]:
    """While inside, glibc gets each array of a megabyte or more from the system, and gives it back when it is freed.

    Otherwise each thread keeps what it freed for itself: after an Orbax checkpoint that is a quarter of the weights.
    Afterwards glibc keeps arrays as programs free and want them again in every step. Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        yield
        return
    mallopt(_MAP, _SMALL)
    try:
        yield
    finally:
        mallopt(_MAP, _LARGE)
        mallopt(_TRIM, 2 * _LARGE)
