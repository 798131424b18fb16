"""Changes of the prefix cache, for observers outside the engine such as a router that tracks each server's prefixes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class ChunksStored:
    """New chunks of the cache, which follow one another in a prompt.

    A hash names a chunk together with all chunks before it. `hashes` and `tokens` may grow until the event is
    published.

    Attributes:
        parent: hash of the chunk before the first one; None at the beginning of a prompt.
        hashes: hash of each chunk, unsigned 64 bits.
        tokens: token ids of each chunk, i32 as bytes.
    """

    parent: int | None
    hashes: list[int]
    tokens: list[bytes]


@dataclass(frozen=True)
class ChunksRemoved:
    """Chunks that were evicted, by their hashes."""

    hashes: list[int]


@dataclass(frozen=True)
class CacheCleared:
    """All chunks of an engine, which were evicted together. `hashes` has the hash of each chunk."""

    hashes: list[int]


CacheEvent = ChunksStored | ChunksRemoved | CacheCleared


class CacheObserver(Protocol):
    """An observer of the prefix caches of all engines of a server."""

    def publish(self, rank: int, events: list[CacheEvent]) -> None:
        """Takes the changes of one step, in order. Runs on the engine's thread, so it must not block or raise.

        Args:
            rank: index of the engine, from 0. It is 0 without data parallelism.
            events: the changes, at least one.
        """
