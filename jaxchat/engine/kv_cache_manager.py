"""What a sequence holds of the KV pool: the chunks it shares with other prompts, and pages of its own."""

from __future__ import annotations

from jaxchat.arithmetic import cdiv
from jaxchat.engine.page_pool import PagePool
from jaxchat.engine.sequence import Sequence


class KVCacheManager:
    """Gives pages to sequences and takes them back; whole chunks of prompts are shared through the prefix cache."""

    def __init__(self, pool: PagePool, *, chunk: int, page_size: int) -> None:
        self.pool = pool
        self.chunk, self.page_size = chunk, page_size
        self._pages_per_chunk = chunk // page_size

    def allocate(self, sequence: Sequence, tokens: int, spare: int) -> bool:
        """Cached chunks of its prompt, and a promise of the pages that `tokens` tokens take beyond them.

        False, and nothing changed, unless `spare` more pages would be left.
        """
        hits = self.pool.match_prefix(self._chunks(sequence))
        shared = [page for prefix in hits for page in prefix.pages]
        needed = cdiv(tokens, self.page_size) - len(shared)
        if not self.pool.reserve(needed, spare):
            self.pool.release(hits)
            return False
        sequence.prefixes, sequence.pages, sequence.reserved_pages = hits, shared, needed
        return True

    def extend(self, sequence: Sequence, tokens: int) -> None:
        """Takes promised pages until they hold `tokens` tokens."""
        while len(sequence.pages) * self.page_size < tokens:
            sequence.pages.append(self.pool.take())
            sequence.reserved_pages -= 1

    def needs_page(self, sequence: Sequence) -> bool:
        """Whether the next token needs a page more."""
        return sequence.position == len(sequence.pages) * self.page_size

    def cache_chunks(self, sequence: Sequence) -> None:
        """Offers whole chunks of the prompt that were dispatched to later prompts; their pages then are the cache's.

        A prompt whose next chunk is in the cache by now shares no more: pages of the cache come before its own.
        """
        while len(sequence.prefixes) < sequence.prefilled // self.chunk and self._cache_next_chunk(sequence):
            pass

    def _cache_next_chunk(self, sequence: Sequence) -> bool:
        index = len(sequence.prefixes)
        tokens = sequence.prompt[index * self.chunk : (index + 1) * self.chunk]
        pages = tuple(sequence.pages[index * self._pages_per_chunk : (index + 1) * self._pages_per_chunk])
        parent = sequence.prefixes[-1] if sequence.prefixes else None
        prefix = self.pool.insert_prefix(parent, tokens.tobytes(), pages)
        if prefix:
            sequence.prefixes.append(prefix)
        return prefix is not None

    def free(self, sequence: Sequence) -> None:
        """Takes everything back."""
        self.pool.free(sequence.pages[self.shared_pages(sequence) :])
        self.pool.release(sequence.prefixes)
        self.pool.unreserve(sequence.reserved_pages)
        sequence.prefixes, sequence.pages, sequence.reserved_pages = [], [], 0

    def shared_pages(self, sequence: Sequence) -> int:
        """How many of its pages, from the first, belong to the cache."""
        return len(sequence.prefixes) * self._pages_per_chunk

    def _chunks(self, sequence: Sequence) -> list[bytes]:
        """Whole chunks of the prompt that may come from the cache; the last token must be computed for its logits."""
        count = (len(sequence.prompt) - 1) // self.chunk
        return [sequence.prompt[i * self.chunk : (i + 1) * self.chunk].tobytes() for i in range(count)]
