"""Counts of an engine: its load at present, and totals since the start."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, fields
from math import inf

from jaxchat.html import table

BOUNDS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)  # of vLLM's histogram of the same name


@dataclass(frozen=True)
class EngineStats:
    """A snapshot: numbers of sequences and KV pages at present, and totals since the start.

    `+` adds the stats of two engines.

    Attributes:
        waiting: sequences without a slot.
        running: sequences with a slot.
        pages_in_use: KV pages that sequences use.
        pages: KV pages that sequences can use.
        steps: steps that were dispatched.
        preemptions: how often a sequence was swapped out to host memory.
        drafts: draft tokens that were checked.
        accepted_drafts: draft tokens that were right.
        prefix_queries: prompt tokens that were looked up in the prefix cache.
        prefix_hits: prompt tokens that the prefix cache had.
        tokens: tokens of all prefill and decode steps.
        step_tokens: number of prefill and decode steps by bound. A step counts at the smallest bound that its number of
            tokens does not exceed. For example, a step of 9 tokens counts at 16.
    """

    waiting: int
    running: int
    pages_in_use: int
    pages: int
    steps: int
    preemptions: int
    drafts: int
    accepted_drafts: int
    prefix_queries: int = 0
    prefix_hits: int = 0
    tokens: int = 0
    step_tokens: dict[float, int] = field(default_factory=dict)

    @property
    def load(self) -> str:
        """The sequences and KV pages at present, in words."""
        return f"{self.running} running, {self.waiting} waiting, {self.pages_in_use} of {self.pages} KV pages in use"

    def _repr_html_(self) -> str:
        counts = [(each.name.replace("_", " "), f"{getattr(self, each.name):,}") for each in fields(self)[:-1]]
        steps = ", ".join(f"{count:,} of up to {bound:g}" for bound, count in self.step_tokens.items() if count)
        return table([*counts, ("steps by tokens", steps)])

    def __add__(self, other: EngineStats) -> EngineStats:
        numbers = [each.name for each in fields(self) if each.name != "step_tokens"]
        sums = {name: getattr(self, name) + getattr(other, name) for name in numbers}
        bounds = self.step_tokens.keys() | other.step_tokens.keys()
        steps = {bound: self.step_tokens.get(bound, 0) + other.step_tokens.get(bound, 0) for bound in sorted(bounds)}
        return EngineStats(**sums, step_tokens=steps)


class StepTokens:
    """A histogram of the tokens of each step, for one writing thread and any number of readers."""

    def __init__(self) -> None:
        self.total = 0
        self._counts = [0] * (len(BOUNDS) + 1)

    def record(self, tokens: int) -> None:
        """Counts a step of `tokens` tokens. A step without tokens, which copies a sequence, does not count."""
        if tokens:
            self.total += tokens
            self._counts[bisect_left(BOUNDS, tokens)] += 1

    @property
    def counts(self) -> dict[float, int]:
        """The number of steps by bound. The last bound is infinity.

        A step counts at the smallest bound that its number of tokens does not exceed. For example, a step of 9 tokens
        counts at 16.
        """
        return dict(zip((*BOUNDS, inf), self._counts, strict=True))
