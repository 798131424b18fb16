"""Memory of the host: settings of the C library's allocator, which the whole process shares, and pages of zeros."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax

_TRIM, _MAP, _MAPS, _ARENAS = -1, -3, -4, -8  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX of malloc.h
_SMALL, _LARGE = 1 << 20, 1 << 30  # bytes
_USUAL = 1 << 16  # arrays that may be mapped from the system at a time
_ARENA = 1 << 26  # bytes that glibc's arena of one thread holds
_LOGIT = 32  # bytes that a step needs for each logit: its sampler has about eight arrays of logits


@contextmanager
def release_freed_memory(logits: int = 0) -> Iterator[None]:
    """Makes glibc, within the context, return the memory of each freed array of a megabyte or more to the system.

    The settings are permanent: glibc cannot restore its own thresholds. A library must not call this unasked. Other C
    libraries are not changed.

    Without these settings, each thread keeps the memory that it frees. After an Orbax checkpoint was read, this memory
    can be as large as a quarter of the weights.

    After the context, glibc keeps up to a gigabyte of freed memory. Each step needs that memory again, and fresh memory
    costs a page fault per page. With half a billion weights, page faults take 10 of the 62 ms of a step of 8 sampled
    rows.

    By default, glibc gives each thread an arena of at most 64 MiB. If steps need more than that, the excess would be
    fresh memory in every step. In this case, all threads that start after this call share one arena. This saves 30 of
    the 112 ms of a step of 32 rows. If steps need less, threads keep separate arenas, so that they need not wait for
    each other.

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
    """Gives freed memory back to the system once, when the context ends. Changes no setting of the process."""
    try:
        yield
    finally:
        if trim := _libc("malloc_trim"):
            trim(0)


def release_zeros(array: jax.Array) -> None:
    """Releases the memory of an array of zeros on a CPU to the system, until the array is written to.

    The array still reads as zeros, because Linux fills released anonymous memory with zeros (`madvise(2)`). A pool of
    KV pages therefore takes memory only for pages that were written. No effect on other systems and devices.
    """
    madvise = _libc("madvise")
    if madvise is None or next(iter(array.devices())).platform != "cpu":
        return
    for shard in array.addressable_shards:
        start = shard.data.unsafe_buffer_pointer()
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (start + shard.data.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - first
        if length > 0:
            madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), mmap.MADV_DONTNEED)


def _libc(name: str) -> Callable[..., int] | None:
    """Returns a function of glibc; None for other C libraries."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
