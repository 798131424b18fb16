"""Ownership of KV pages: a free list, reservations for admitted prompts, and a prefix cache.

Every operation except `clear` takes time proportional to the number of pages or chunks that it handles.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jaxchat.engine.cache_recorder import CacheRecorder


@dataclass(eq=False)
class Prefix:
    """The beginning of a prompt, up to the end of a cached chunk. `pages` are the pages of that last chunk.

    All sequences whose prompts begin with this prefix share the chunk's pages.
    """

    key: tuple[int, bytes]  # serial of the chunk before it (0: none), and this chunk's tokens
    serial: int  # a number that no other prefix has, from 1
    pages: tuple[int, ...]  # ids
    users: int = 0  # sequences


class PagePool:
    """The pages 1 .. N-1 of N KV pages. Page 0 is the null page.

    A page is free, or used by one sequence, or part of one cached prefix.

    A chunk stays cached after its last user has released it, until its pages are needed. Chunks are looked up by the
    exact tokens of the whole prefix. A hash collision therefore cannot make two prompts share pages.
    """

    def __init__(self, pages: int) -> None:
        self.total = pages - 1
        self._free = list(range(pages - 1, 0, -1))
        self._prefixes: dict[tuple[int, bytes], Prefix] = {}
        self._idle: OrderedDict[int, Prefix] = OrderedDict()
        self._idle_pages = 0
        self._reserved = 0
        self._serial = 0
        self.recorder: CacheRecorder | None = None  # set before the first prompt

    @property
    def in_use(self) -> int:
        """The number of pages that sequences use. Cached prefixes that no sequence uses do not count."""
        return self.total - len(self._free) - self._idle_pages

    def reserve(self, count: int, spare: int = 0) -> bool:
        """Reserves `count` pages for later calls of `take`.

        Returns:
            Whether there was room. If fewer than `spare` pages would remain available, nothing is reserved.
        """
        if len(self._free) + self._idle_pages - self._reserved < count + spare:
            return False
        self._reserved += count
        return True

    def unreserve(self, count: int) -> None:
        """Gives back `count` reserved pages that were not taken."""
        self._reserved -= count

    def take(self) -> int:
        """Takes one reserved page and returns its id. Evicts the least recently released chunk if no page is free."""
        if not self._free:
            prefix = self._evict()
            if self.recorder:
                self.recorder.removed(prefix.serial)
        self._reserved -= 1
        return self._free.pop()

    def free(self, pages: list[int]) -> None:
        """Returns pages to the free list.

        Args:
            pages: ids of pages that belong to no cached prefix.
        """
        self._free.extend(pages)

    def match_prefix(self, chunks: Iterable[bytes]) -> list[Prefix]:
        """Returns the cached chunks at the beginning of a prompt, in order.

        The caller becomes a user of each chunk and must `release` all of them.

        Args:
            chunks: the tokens of each whole chunk of the prompt, as bytes.
        """
        prefixes = list(self._cached(chunks))
        for prefix in prefixes:
            self._use(prefix)
        return prefixes

    def count_prefix(self, chunks: Iterable[bytes]) -> int:
        """Returns the number of chunks that `match_prefix` would return, without making the caller a user."""
        return sum(1 for _ in self._cached(chunks))

    def insert_prefix(self, parent: Prefix | None, tokens: bytes, pages: tuple[int, ...]) -> Prefix | None:
        """Caches a chunk that prefill has just written. The caller counts as its first user and must `release` it.

        Args:
            parent: the cached chunk before this one; None for the first chunk of a prompt.
            tokens: the chunk's tokens, as bytes.
            pages: ids of the chunk's pages.

        Returns:
            The cached chunk, or None if a chunk with the same tokens and parent was cached before.
        """
        key = (parent.serial if parent else 0, tokens)
        if key in self._prefixes:
            return None
        self._serial += 1
        prefix = self._prefixes[key] = Prefix(key, self._serial, pages, users=1)
        if self.recorder:
            self.recorder.stored(prefix.serial, key[0], tokens)
        return prefix

    def release(self, prefixes: list[Prefix]) -> None:
        """Ends the caller's use of each prefix.

        Releases the last chunk first, so that a chunk is evicted before the chunk that precedes it in the prompt.
        """
        for prefix in reversed(prefixes):
            prefix.users -= 1
            if not prefix.users:
                self._idle[prefix.serial] = prefix
                self._idle_pages += len(prefix.pages)

    def clear(self) -> None:
        """Evicts all cached chunks that no sequence uses."""
        serials = list(self._idle)
        while self._idle:
            self._evict()
        if self.recorder:
            self.recorder.cleared(serials)

    def publish_changes(self) -> None:
        """Passes the changes since the last call to the observer of the prefix cache, if there is one."""
        if self.recorder:
            self.recorder.flush()

    def _cached(self, chunks: Iterable[bytes]) -> Iterator[Prefix]:
        parent = 0
        for tokens in chunks:
            prefix = self._prefixes.get((parent, tokens))
            if prefix is None:
                return
            yield prefix
            parent = prefix.serial

    def _use(self, prefix: Prefix) -> None:
        if not prefix.users:
            del self._idle[prefix.serial]
            self._idle_pages -= len(prefix.pages)
        prefix.users += 1

    def _evict(self) -> Prefix:
        """Evicts the least recently released chunk and returns it."""
        _, prefix = self._idle.popitem(last=False)
        del self._prefixes[prefix.key]
        self._idle_pages -= len(prefix.pages)
        self._free.extend(prefix.pages)
        return prefix
