"""The run: peers alternate, each alone on the machine, every case between two probes, all repeated several times."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jaxchat.models.config import ModelConfig
from jaxchat.models.param_specs import param_count
from tools.bench.cases import CONTEXT, Case, Figures, median_figures
from tools.bench.others import Others
from tools.bench.peers import Peer, Worker
from tools.bench.probe import Limits, Probe, floor_seconds
from tools.bench.workers.line import Settings

CALM = 0.05  # of the processors may go to others without a second try


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A peer with its number of slots and its cases."""

    peer: Peer
    slots: int
    cases: tuple[Case, ...]

    @property
    def label(self) -> str:
        return f"jaxchat {self.peer.name}, {self.slots} slots" if self.peer.ours else self.peer.name


@dataclass(frozen=True)
class Measured:
    """The result of one try, the probes around it, and the part of the processors that others had meanwhile."""

    figures: Figures
    limits: Limits
    others: float


@dataclass(frozen=True, kw_only=True)
class Record:
    """One case of one contestant in one repetition."""

    label: str
    version: str
    case: str
    repetition: int
    figures: Figures
    limits: Limits  # the mean of the two probes
    others: float  # part of the processors that others had meanwhile


def contestants(peers: list[Peer], cases: list[Case], slots: list[int]) -> list[Contestant]:
    """Ours for each number of slots, the larger ones only where more streams come than the first has slots for."""
    first, most = slots[0], max([*slots, *(case.streams for case in cases)])
    crowded = tuple(case for case in cases if case.streams > first)
    results = []
    for peer in peers:
        if not peer.ours:
            results.append(Contestant(peer=peer, slots=most, cases=tuple(cases)))
            continue
        results.append(Contestant(peer=peer, slots=first, cases=tuple(cases)))
        results += [Contestant(peer=peer, slots=more, cases=crowded) for more in slots[1:] if crowded]
    return results


class Bench:
    """One model in one precision."""

    def __init__(
        self, model: Path, config: ModelConfig, dtype: str, cache: Path, probe: Probe, *, tries: int = 1
    ) -> None:
        """Prepares a run.

        Args:
            tries: how often a case is measured while other processes take more than a little of the machine.
        """
        self._tries = tries
        self._model, self._config, self._dtype, self._cache, self._probe = model, config, dtype, cache, probe
        self._weights = param_count(config)
        self.failures: dict[str, str] = {}

    def run(self, contestants: list[Contestant], repetitions: int) -> Iterator[Record]:
        """Yields records as they are measured. A contestant that fails is named in `failures` and not tried again."""
        for repetition in range(repetitions):
            for contestant in contestants:
                if contestant.label in self.failures:
                    continue
                try:
                    yield from self._turn(contestant, repetition)
                except RuntimeError as error:
                    self.failures[contestant.label] = str(error)
                    print(f"{contestant.label} failed: {error}", file=sys.stderr, flush=True)

    def _turn(self, contestant: Contestant, repetition: int) -> Iterator[Record]:
        settings = Settings(
            model=str(self._model),
            dtype=self._dtype,
            slots=contestant.slots,
            max_seq_len=CONTEXT,
            threads=os.cpu_count() or 1,
            way=contestant.peer.way,
        )
        with Worker(contestant.peer, settings, self._cache) as worker:
            for case in contestant.cases:
                worker.run(case.warm_up(self._config.vocab_size))
                results = self._calmest(worker, case, repetition)
                yield Record(
                    label=contestant.label,
                    version=worker.version,
                    case=case.name,
                    repetition=repetition,
                    figures=results.figures,
                    limits=results.limits,
                    others=results.others,
                )

    def _calmest(self, worker: Worker, case: Case, repetition: int) -> Measured:
        """Returns the first try that others hardly disturbed, or the one that they disturbed least."""
        results: list[Measured] = []
        for number in range(self._tries):
            results.append(self._measure(worker, case, repetition * self._tries + number))
            if results[-1].others < CALM:
                break
        return min(results, key=lambda measured: measured.others)

    def _measure(self, worker: Worker, case: Case, number: int) -> Measured:
        """Measures a case. `number` makes every prompt new, so that prefix caches never match."""
        before, watched = self._probe(), Others()
        figures = []
        for run in range(case.runs):
            requests = case.requests(number * case.runs + run, self._config.vocab_size)
            figures.append(case.figures(requests, worker.run(requests)))
        others, limits = watched.share(), _mean(before, self._probe())
        median = median_figures(figures)
        return Measured(median | self._roofline(case, median, limits), limits, others)

    def _roofline(self, case: Case, figures: Figures, limits: Limits) -> Figures:
        """Returns the share of the probes' limits that was reached."""
        if case.kind == "mix":
            return {}
        rows = case.streams if case.kind == "decode" else int(case.size)
        possible = rows / floor_seconds(self._weights, self._dtype, rows, limits)
        return {"roofline": figures["rate"] / possible}


def _mean(one: Limits, other: Limits) -> Limits:
    return Limits((one.bandwidth + other.bandwidth) / 2, (one.matmul + other.matmul) / 2)
