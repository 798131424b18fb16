"""The page pool never loses or lends a page twice, whatever is asked of it."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jaxchat.engine.page_pool import PagePool

TOTAL = 12


class Pool(RuleBasedStateMachine):
    """Sequences that take promised pages, share chunks of two pages, and leave."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(TOTAL + 1)
        self.users: list[dict] = []

    @rule(chunks=st.lists(st.sampled_from([b"a", b"b"]), max_size=3), tail=st.integers(0, 3))
    def enter(self, chunks: list[bytes], tail: int) -> None:
        hits = self.pool.match_prefix(chunks)
        needed = 2 * (len(chunks) - len(hits)) + tail
        if not self.pool.reserve(needed):
            assert needed > TOTAL - self.pool.in_use - sum(user["promised"] for user in self.users)
            self.pool.release(hits)
            return
        user = {"prefixes": hits, "own": [], "promised": needed}
        for chunk in chunks[len(hits) :]:
            pages = (self.pool.take(), self.pool.take())
            user["promised"] -= 2
            parent = user["prefixes"][-1] if user["prefixes"] else None
            prefix = self.pool.insert_prefix(parent, chunk, pages)
            assert prefix is not None
            user["prefixes"].append(prefix)
        self.users.append(user)

    @precondition(lambda self: any(user["promised"] for user in self.users))
    @rule(data=st.data())
    def grow(self, data: st.DataObject) -> None:
        user = data.draw(st.sampled_from([user for user in self.users if user["promised"]]))
        user["own"].append(self.pool.take())
        user["promised"] -= 1

    @precondition(lambda self: self.users)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        user = self.users.pop(data.draw(st.integers(0, len(self.users) - 1)))
        self.pool.free(user["own"])
        self.pool.release(user["prefixes"])
        self.pool.unreserve(user["promised"])

    @rule()
    def clear(self) -> None:
        self.pool.clear()
        free = TOTAL - self.pool.in_use - sum(user["promised"] for user in self.users)
        assert self.pool.reserve(free) and not self.pool.reserve(1)
        self.pool.unreserve(free)

    @invariant()
    def every_page_has_one_owner(self) -> None:
        shared = {prefix.serial: prefix.pages for user in self.users for prefix in user["prefixes"]}
        pages = [page for user in self.users for page in user["own"]]
        pages += [page for pages in shared.values() for page in pages]
        assert len(pages) == len(set(pages)) == self.pool.in_use
        assert all(1 <= page <= TOTAL for page in pages)


TestPool = Pool.TestCase
TestPool.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
