"""The run: peers in turn, each alone on the machine, every case between two probes, all of it several times over."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jaxchat.models.config import ModelConfig
from tools.bench.cases import CONTEXT, Case, Figures, median_figures
from tools.bench.others import Others
from tools.bench.peers import Peer, Worker
from tools.bench.probe import Limits, Probe, floor_seconds
from tools.bench.workers.line import Settings
from tools.shapes import parameter_count


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A peer with so many slots, and what it is measured on."""

    peer: Peer
    slots: int
    cases: tuple[Case, ...]

    @property
    def label(self) -> str:
        return f"jaxchat {self.peer.name}, {self.slots} slots" if self.peer.ours else self.peer.name


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
    found = []
    for peer in peers:
        if not peer.ours:
            found.append(Contestant(peer=peer, slots=most, cases=tuple(cases)))
            continue
        found.append(Contestant(peer=peer, slots=first, cases=tuple(cases)))
        found += [Contestant(peer=peer, slots=more, cases=crowded) for more in slots[1:] if crowded]
    return found


class Bench:
    """One model in one precision."""

    def __init__(self, model: Path, config: ModelConfig, dtype: str, cache: Path, probe: Probe) -> None:
        self._model, self._config, self._dtype, self._cache, self._probe = model, config, dtype, cache, probe
        self._weights = parameter_count(config)
        self.failures: dict[str, str] = {}

    def run(self, contestants: list[Contestant], repetitions: int) -> Iterator[Record]:
        """Records as they come. One who fails is named in `failures`, and not tried again."""
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
            context=CONTEXT,
            threads=os.cpu_count() or 1,
            way=contestant.peer.way,
        )
        with Worker(contestant.peer, settings, self._cache) as worker:
            for case in contestant.cases:
                worker.run(case.warm_up(self._config.vocab_size))
                before, others = self._probe(), Others()
                figures = median_figures([self._once(worker, case, repetition, run) for run in range(case.runs)])
                disturbed, limits = others.share(), _mean(before, self._probe())
                figures |= self._roofline(case, figures, limits)
                yield Record(
                    label=contestant.label,
                    version=worker.version,
                    case=case.name,
                    repetition=repetition,
                    figures=figures,
                    limits=limits,
                    others=disturbed,
                )

    def _once(self, worker: Worker, case: Case, repetition: int, run: int) -> Figures:
        requests = case.requests(repetition * case.runs + run, self._config.vocab_size)
        return case.figures(requests, worker.run(requests))

    def _roofline(self, case: Case, figures: Figures, limits: Limits) -> Figures:
        """The share that was reached of what the probes allow."""
        if case.kind == "mix":
            return {}
        rows = case.streams if case.kind == "decode" else int(case.size)
        possible = rows / floor_seconds(self._weights, self._dtype, rows, limits)
        return {"roofline": figures["rate"] / possible}


def _mean(one: Limits, other: Limits) -> Limits:
    return Limits((one.bandwidth + other.bandwidth) / 2, (one.matmul + other.matmul) / 2)
