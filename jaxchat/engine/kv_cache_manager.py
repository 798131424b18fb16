"""The KV pages of each sequence: pages of cached chunks, which prompts share, and pages of that sequence alone."""

from __future__ import annotations

from collections.abc import Iterator

from jaxchat.arithmetic import cdiv
from jaxchat.engine.page_pool import PagePool
from jaxchat.engine.sequence import Sequence


class KVCacheManager:
    """An allocator of KV pages for sequences. Prompts share whole chunks through the prefix cache."""

    def __init__(self, pool: PagePool, *, chunk: int, page_size: int) -> None:
        self.pool = pool
        self.chunk, self.page_size = chunk, page_size
        self._pages_per_chunk = chunk // page_size

    def allocate(self, sequence: Sequence, tokens: int, spare: int) -> bool:
        """Gives a sequence the cached chunks of its prompt, and reserves the other pages for its first `tokens` tokens.

        Returns:
            Whether there was room. If fewer than `spare` pages would remain available, the sequence gets nothing. Its
            cached chunks then count as just used, so that others are evicted first.
        """
        hits = self.pool.match_prefix(self._chunks(sequence))
        shared = [page for prefix in hits for page in prefix.pages]
        needed = cdiv(tokens, self.page_size) - len(shared)
        if not self.pool.reserve(needed, spare):
            self.pool.release(hits)
            return False
        sequence.prefixes, sequence.pages, sequence.reserved_pages = hits, shared, needed
        return True

    def missing(self, sequence: Sequence) -> int:
        """Returns the number of prompt tokens that must be computed, because no cached chunk has them."""
        return len(sequence.prompt) - self.chunk * self.pool.count_prefix(self._chunks(sequence))

    def missing_after(self, sequence: Sequence) -> int:
        """Returns how many prompt tokens must still be computed after another sequence has computed the same prompt."""
        return (len(sequence.prompt) - 1) % self.chunk + 1

    def extend(self, sequence: Sequence, tokens: int) -> None:
        """Takes reserved pages until the sequence has room for `tokens` tokens."""
        while len(sequence.pages) * self.page_size < tokens:
            sequence.pages.append(self.pool.take())
            sequence.reserved_pages -= 1

    def extend_by_one(self, sequence: Sequence) -> int:
        """Takes a reserved page if the next token needs one. Returns the id of the page, or -1 if no page is needed."""
        if not (sequence.reserved_pages and self.needs_page(sequence)):
            return -1
        self.extend(sequence, sequence.position + 1)
        return sequence.pages[-1]

    def room(self, sequence: Sequence) -> int:
        """Returns for how many next tokens the sequence's pages have room."""
        return len(sequence.pages) * self.page_size - sequence.position

    def needs_page(self, sequence: Sequence) -> bool:
        """Returns whether the next token needs another page."""
        return sequence.position == len(sequence.pages) * self.page_size

    def reserve_next(self, sequence: Sequence) -> bool:
        """Reserves a page for the next token if the token needs one. Returns whether there is room for the token."""
        if sequence.reserved_pages or not self.needs_page(sequence):
            return True
        if not self.pool.reserve(1):
            return False
        sequence.reserved_pages += 1
        return True

    def cache_chunks(self, sequence: Sequence) -> None:
        """Caches the prompt chunks whose prefill was dispatched, for later prompts. The cache then owns their pages.

        Stops at the first chunk that another sequence has cached already, because the cache cannot own the pages of
        this sequence for that chunk. In `sequence.pages`, such pages must come after all pages of the cache.
        """
        while len(sequence.prefixes) < sequence.prefilled // self.chunk and self._cache_next_chunk(sequence):
            pass

    def _cache_next_chunk(self, sequence: Sequence) -> bool:
        """Caches one more chunk and returns whether that was possible."""
        index = len(sequence.prefixes)
        tokens = sequence.prompt[index * self.chunk : (index + 1) * self.chunk]
        pages = tuple(sequence.pages[index * self._pages_per_chunk : (index + 1) * self._pages_per_chunk])
        parent = sequence.prefixes[-1] if sequence.prefixes else None
        prefix = self.pool.insert_prefix(parent, tokens.tobytes(), pages)
        if prefix:
            sequence.prefixes.append(prefix)
        return prefix is not None

    def free(self, sequence: Sequence) -> None:
        """Frees the pages that only the sequence uses, releases its cached chunks and cancels its reservation."""
        self.pool.free(sequence.pages[self.shared_pages(sequence) :])
        self.pool.release(sequence.prefixes)
        self.pool.unreserve(sequence.reserved_pages)
        sequence.prefixes, sequence.pages, sequence.reserved_pages = [], [], 0

    def shared_pages(self, sequence: Sequence) -> int:
        """Returns the number of the sequence's pages that belong to the prefix cache. They are its first pages."""
        return len(sequence.prefixes) * self._pages_per_chunk

    def _chunks(self, sequence: Sequence) -> Iterator[bytes]:
        """Yields the tokens of each whole chunk of the prompt that may come from the cache, as bytes.

        No such chunk contains the last prompt token, because the logits of that token must be computed.
        """
        for end in range(self.chunk, len(sequence.prompt), self.chunk):
            yield sequence.prompt[end - self.chunk : end].tobytes()
