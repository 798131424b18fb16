"""Which KV page belongs to whom: a free list, promises for prompts that were let in, a prefix cache.

All operations are O(1) in the number of pages.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(eq=False)
class Prefix:
    """The pages of one prompt chunk, shared by every sequence whose prompt begins the same up to its end."""

    key: tuple[int, bytes]  # identity of the chunk before it, and this chunk's tokens
    serial: int
    pages: tuple[int, ...]
    users: int = 0


class PagePool:
    """Pages 1 .. N-1; page 0 is the null page. Every page is free, held by one sequence, or in one cached prefix.

    Chunks of prompts stay cached after their last user has left, until their pages are needed. They are found by the
    chain of exact tokens, so two prompts never share by accident of a hash.
    """

    def __init__(self, pages: int) -> None:
        self.total = pages - 1
        self._free = list(range(pages - 1, 0, -1))
        self._prefixes: dict[tuple[int, bytes], Prefix] = {}
        self._idle: OrderedDict[int, Prefix] = OrderedDict()
        self._idle_pages = 0
        self._reserved = 0
        self._serial = 0

    @property
    def in_use(self) -> int:
        """Pages held for sequences; cached prefixes without a user do not count."""
        return self.total - len(self._free) - self._idle_pages

    def reserve(self, count: int, spare: int = 0) -> bool:
        """Sets `count` pages aside for later `take`s; False, and nothing changed, unless `spare` more are left."""
        if len(self._free) + self._idle_pages - self._reserved < count + spare:
            return False
        self._reserved += count
        return True

    def unreserve(self, count: int) -> None:
        """Gives back what was promised but not taken."""
        self._reserved -= count

    def take(self) -> int:
        """One promised page."""
        if not self._free:
            self._evict()
        self._reserved -= 1
        return self._free.pop()

    def free(self, pages: list[int]) -> None:
        """Returns pages that a sequence held alone."""
        self._free.extend(pages)

    def match_prefix(self, chunks: list[bytes]) -> list[Prefix]:
        """The longest cached run of `chunks`, each now used once more."""
        prefixes: list[Prefix] = []
        for tokens in chunks:
            prefix = self._prefixes.get((prefixes[-1].serial if prefixes else 0, tokens))
            if prefix is None:
                break
            self._use(prefix)
            prefixes.append(prefix)
        return prefixes

    def insert_prefix(self, parent: Prefix | None, tokens: bytes, pages: tuple[int, ...]) -> Prefix | None:
        """Caches pages that prefill just wrote, used by the caller; None when such a chunk is cached already."""
        key = (parent.serial if parent else 0, tokens)
        if key in self._prefixes:
            return None
        self._serial += 1
        prefix = self._prefixes[key] = Prefix(key, self._serial, pages, users=1)
        return prefix

    def release(self, prefixes: list[Prefix]) -> None:
        """Ends a use of each. The last chunk goes first, so that a chunk is evicted before the one it builds on."""
        for prefix in reversed(prefixes):
            prefix.users -= 1
            if not prefix.users:
                self._idle[prefix.serial] = prefix
                self._idle_pages += len(prefix.pages)

    def clear(self) -> None:
        """Drops all cached chunks that nobody uses."""
        while self._idle:
            self._evict()

    def _use(self, prefix: Prefix) -> None:
        if not prefix.users:
            del self._idle[prefix.serial]
            self._idle_pages -= len(prefix.pages)
        prefix.users += 1

    def _evict(self) -> None:
        _, prefix = self._idle.popitem(last=False)
        del self._prefixes[prefix.key]
        self._idle_pages -= len(prefix.pages)
        self._free.extend(prefix.pages)
