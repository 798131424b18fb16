"""Runs the benchmark. Peers take turns and never run at the same time.

The machine's rates of memory and matrix products are measured before and after every case.
"""

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

CALM = 0.05  # fraction of the processors that others may use without a second try


@dataclass(frozen=True, kw_only=True)
class PeerSetup:
    """A peer, the number of its slots, and the cases in which it is measured."""

    peer: Peer
    slots: int
    cases: tuple[Case, ...]

    @property
    def label(self) -> str:
        return f"jaxchat {self.peer.name}, {self.slots} slots" if self.peer.ours else self.peer.name


@dataclass(frozen=True)
class Measured:
    """The result of one try.

    Attributes:
        figures: the figures of the case.
        limits: mean of the probes before and after the try.
        others: fraction of processor time that other processes used meanwhile.
    """

    figures: Figures
    limits: Limits
    others: float


@dataclass(frozen=True, kw_only=True)
class Record:
    """The result of one case of one peer in one repetition.

    Attributes:
        label: name of the peer, with its number of slots.
        version: version of the peer.
        case: name of the case.
        repetition: number of the repetition.
        figures: the figures of the case.
        limits: mean of the probes before and after the case.
        others: fraction of processor time that other processes used meanwhile.
    """

    label: str
    version: str
    case: str
    repetition: int
    figures: Figures
    limits: Limits  # the mean of the two probes
    others: float  # fraction of processor time that other processes used meanwhile


def peer_setups(peers: list[Peer], cases: list[Case], slots: list[int]) -> list[PeerSetup]:
    """Returns each peer with its cases and its number of slots.

    jaxchat's own peers run all cases with `slots[0]` slots. They also run with each further number in `slots`, but only
    the cases with more than `slots[0]` streams. The other peers run all cases once, with enough slots for every case.
    """
    first, most = slots[0], max([*slots, *(case.streams for case in cases)])
    crowded = tuple(case for case in cases if case.streams > first)
    results = []
    for peer in peers:
        if not peer.ours:
            results.append(PeerSetup(peer=peer, slots=most, cases=tuple(cases)))
            continue
        results.append(PeerSetup(peer=peer, slots=first, cases=tuple(cases)))
        results += [PeerSetup(peer=peer, slots=more, cases=crowded) for more in slots[1:] if crowded]
    return results


class Bench:
    """A benchmark of one model in one precision. `failures` has the message of each peer that failed, by label."""

    def __init__(
        self, model: Path, config: ModelConfig, dtype: str, cache: Path, probe: Probe, *, tries: int = 1
    ) -> None:
        """Stores the arguments.

        Args:
            model: directory of the model.
            config: configuration of the model.
            dtype: precision of the weights: float32, bfloat16, int8, or gguf for the weights of a GGUF file.
            cache: folder with the peers' environments.
            probe: measures the machine's limits.
            tries: maximum number of measurements of a case. A case is measured again if other processes use 5 % or more
                of the processor time.
        """
        self._tries = tries
        self._model, self._config, self._dtype, self._cache, self._probe = model, config, dtype, cache, probe
        self._weights = param_count(config)
        self.failures: dict[str, str] = {}

    def run(self, setups: list[PeerSetup], repetitions: int) -> Iterator[Record]:
        """Yields each record once it is measured. Adds a peer that fails to `failures` and does not run it again.

        Args:
            setups: the peers, which take turns.
            repetitions: number of times that each case is measured.
        """
        for repetition in range(repetitions):
            for setup in setups:
                if setup.label in self.failures:
                    continue
                try:
                    yield from self._turn(setup, repetition)
                except RuntimeError as error:
                    self.failures[setup.label] = str(error)
                    print(f"{setup.label} failed: {error}", file=sys.stderr, flush=True)

    def _turn(self, setup: PeerSetup, repetition: int) -> Iterator[Record]:
        settings = Settings(
            model=str(self._model),
            dtype=self._dtype,
            slots=setup.slots,
            max_seq_len=CONTEXT,
            threads=os.cpu_count() or 1,
            way=setup.peer.way,
        )
        with Worker(setup.peer, settings, self._cache) as worker:
            for case in setup.cases:
                worker.run(case.warm_up(self._config.vocab_size))
                results = self._calmest(worker, case, repetition)
                yield Record(
                    label=setup.label,
                    version=worker.version,
                    case=case.name,
                    repetition=repetition,
                    figures=results.figures,
                    limits=results.limits,
                    others=results.others,
                )

    def _calmest(self, worker: Worker, case: Case, repetition: int) -> Measured:
        """Measures a case until other processes hardly disturb a try, and returns this try.

        If all tries are disturbed, returns the least disturbed try.
        """
        results: list[Measured] = []
        for number in range(self._tries):
            results.append(self._measure(worker, case, repetition * self._tries + number))
            if results[-1].others < CALM:
                break
        return min(results, key=lambda measured: measured.others)

    def _measure(self, worker: Worker, case: Case, number: int) -> Measured:
        """Measures a case. Each `number` gives other prompts, so that prefix caches never match."""
        before, watched = self._probe(), Others()
        figures = []
        for run in range(case.runs):
            requests = case.requests(number * case.runs + run, self._config.vocab_size)
            figures.append(case.figures(requests, worker.run(requests)))
        others, limits = watched.share(), _mean(before, self._probe())
        median = median_figures(figures)
        return Measured(median | self._roofline(case, median, limits), limits, others)

    def _roofline(self, case: Case, figures: Figures, limits: Limits) -> Figures:
        """Returns the measured rate as a fraction of the rate that the probes' limits allow.

        Returns {} if no single limit applies.
        """
        if case.kind == "mix" or self._dtype == "gguf":  # no single limit: requests or weights of several kinds
            return {}
        rows = case.streams if case.kind == "decode" else int(case.size)
        possible = rows / floor_seconds(self._weights, self._dtype, rows, limits)
        return {"roofline": figures["rate"] / possible}


def _mean(one: Limits, other: Limits) -> Limits:
    return Limits((one.bandwidth + other.bandwidth) / 2, (one.matmul + other.matmul) / 2)
