"""A copy of a prefix cache that is kept by its events alone, as a router keeps one of each server."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxchat.cache_events import CacheCleared, CacheEvent, ChunksRemoved, ChunksStored


@dataclass
class Replica:
    """An observer that applies all events.

    Attributes:
        prefixes: the chunks of each cached prefix, by its hash.
        batches: the rank and the events of each call.
    """

    prefixes: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    batches: list[tuple[int, list[CacheEvent]]] = field(default_factory=list)

    def publish(self, rank: int, events: list[CacheEvent]) -> None:
        assert events
        self.batches.append((rank, events))
        for event in events:
            self.apply(event)

    def apply(self, event: CacheEvent) -> None:
        match event:
            case ChunksStored(parent, hashes, tokens):
                before = () if parent is None else self.prefixes[parent]
                for number, chunk in zip(hashes, tokens, strict=True):
                    assert number not in self.prefixes and 0 <= number < 1 << 64
                    before = self.prefixes[number] = (*before, chunk)
            case ChunksRemoved(hashes):
                for number in hashes:
                    del self.prefixes[number]
            case CacheCleared(hashes):
                assert set(hashes) == self.prefixes.keys()
                self.prefixes.clear()

    @property
    def cached(self) -> set[tuple[bytes, ...]]:
        """The cached prefixes, each as its chunks."""
        assert len(set(self.prefixes.values())) == len(self.prefixes)
        return set(self.prefixes.values())
