"""Collects the changes of an engine's prefix cache, and passes them to an observer once for each step."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from jaxchat.cache_events import CacheCleared, CacheEvent, CacheObserver, ChunksRemoved, ChunksStored

_BYTES = 8


class CacheRecorder:
    """A recorder of the changes in one engine's prefix cache. All methods run on the engine's thread.

    A chunk's hash is computed from the model, the rank, and all tokens up to the end of the chunk. A prefix therefore
    has the same hash in all servers with the same model, rank and chunk size.
    """

    def __init__(self, observer: CacheObserver, model: str, rank: int) -> None:
        """Starts with an empty cache.

        Args:
            observer: gets the changes.
            model: id of the model.
            rank: index of the engine.
        """
        self._observer, self._rank = observer, rank
        self._root = _digest(model.encode("utf-8", "surrogatepass"), rank.to_bytes(_BYTES, "big"))
        self._hashes: dict[int, bytes] = {}  # by the serial of the prefix
        self._events: list[CacheEvent] = []

    def stored(self, serial: int, parent: int, tokens: bytes) -> None:
        """Records that a chunk was cached.

        Args:
            serial: serial of the new prefix.
            parent: serial of the prefix before it; 0 at the beginning of a prompt.
            tokens: the chunk's token ids, i32 as bytes.
        """
        before = self._hashes[parent] if parent else None
        digest = self._hashes[serial] = _digest(before or self._root, tokens)
        number, preceding = _number(digest), _number(before) if before else None
        last = self._events[-1] if self._events else None
        if isinstance(last, ChunksStored) and last.hashes[-1] == preceding:
            last.hashes.append(number)
            last.tokens.append(tokens)
        else:
            self._events.append(ChunksStored(preceding, [number], [tokens]))

    def removed(self, serial: int) -> None:
        """Records that a chunk was evicted."""
        number = _number(self._hashes.pop(serial))
        last = self._events[-1] if self._events else None
        if isinstance(last, ChunksRemoved):
            last.hashes.append(number)
        else:
            self._events.append(ChunksRemoved([number]))

    def cleared(self, serials: Sequence[int]) -> None:
        """Records that chunks were evicted together. If the cache is then empty, the event is `CacheCleared`."""
        numbers = [_number(self._hashes.pop(serial)) for serial in serials]
        if numbers:
            self._events.append(ChunksRemoved(numbers) if self._hashes else CacheCleared(numbers))

    def flush(self) -> None:
        """Passes the changes since the last call to the observer."""
        if self._events:
            events, self._events = self._events, []
            self._observer.publish(self._rank, events)


def _digest(before: bytes, tokens: bytes) -> bytes:
    return blake2b(before + tokens, digest_size=_BYTES).digest()


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, "big")
