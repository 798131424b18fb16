"""Computes the figures of a load from the times of its requests."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from serving.bench.load import GeneratorWatch
from serving.bench.request import Timing

_SMALL = 0.1  # fraction of a latency that delays of the generator may have
_BUSY = 0.9  # fraction of a processor


@dataclass(frozen=True)
class Spread:
    """Mean and percentiles of durations, in seconds. For an empty list of durations, all figures are NaN."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Generator:
    """How well the load generator, this process, kept up.

    Attributes:
        late: by how many seconds requests were sent too late.
        delay: by how many seconds arrivals were noted too late.
        busy: fraction of one processor that this process used.
        bottleneck: whether `late`, `delay` or `busy` is so large that the figures describe the generator too.
    """

    late: Spread
    delay: Spread
    busy: float
    bottleneck: bool


@dataclass(frozen=True, kw_only=True)
class LoadFigures:
    """The figures of one load.

    Attributes:
        kind: "rate" or "concurrency".
        load: requests a second, or requests open at a time.
        requests: number of complete answers.
        errors: numbers of failed requests by error.
        seconds: from the due time of the first request to the end of the last answer.
        request_rate: answers a second.
        prompt_tokens: mean tokens of a prompt.
        output_tokens: mean tokens of an answer.
        output_rate: output tokens a second.
        first_token: from a request's due time to the first event with output.
        per_token: for each answer, the mean time of a token after the first.
        inter_token: from an event with output to the next one of the same answer.
        whole: from a request's due time to the end of its answer.
        generator: how well the generator kept up.
    """

    kind: Literal["rate", "concurrency"]
    load: float
    requests: int
    errors: dict[str, int]
    seconds: float
    request_rate: float
    prompt_tokens: float
    output_tokens: float
    output_rate: float
    first_token: Spread
    per_token: Spread
    inter_token: Spread
    whole: Spread
    generator: Generator


def load_figures(
    kind: Literal["rate", "concurrency"], load: float, timings: Sequence[Timing], watch: GeneratorWatch
) -> LoadFigures:
    """Returns the figures of a load. `timings` are those of all its requests except the warm-up."""
    complete = [timing for timing in timings if not timing.error]
    seconds = max(timing.end for timing in timings) - min(timing.scheduled for timing in timings)
    output = sum(timing.output_tokens for timing in complete)
    first = spread([timing.arrivals[0] - timing.scheduled for timing in complete])
    gaps = [after - before for timing in complete for before, after in pairwise(timing.arrivals)]
    return LoadFigures(
        kind=kind,
        load=load,
        requests=len(complete),
        errors=dict(Counter(timing.error for timing in timings if timing.error)),
        seconds=seconds,
        request_rate=len(complete) / seconds,
        prompt_tokens=_mean([timing.prompt_tokens for timing in complete]),
        output_tokens=_mean([timing.output_tokens for timing in complete]),
        output_rate=output / seconds,
        first_token=first,
        per_token=spread([_per_token(timing) for timing in complete if timing.output_tokens > 1]),
        inter_token=(inter := spread(gaps)),
        whole=spread([timing.end - timing.scheduled for timing in complete]),
        generator=_generator(timings, watch, first, inter),
    )


def spread(values: Sequence[float]) -> Spread:
    """Returns mean and percentiles, interpolated between neighbours as numpy does."""
    ordered = sorted(values)
    return Spread(_mean(ordered), *(_percentile(ordered, share) for share in (0.5, 0.9, 0.95, 0.99)))


def _per_token(timing: Timing) -> float:
    return (timing.arrivals[-1] - timing.arrivals[0]) / (timing.output_tokens - 1)


def _generator(timings: Sequence[Timing], watch: GeneratorWatch, first: Spread, inter: Spread) -> Generator:
    late = spread([timing.sent - timing.scheduled for timing in timings])
    delay = spread(watch.delays or [0.0])
    slow = late.p99 > _SMALL * first.p50 or delay.p90 > _SMALL * first.p50 or delay.p50 > _SMALL * inter.p50
    return Generator(late, delay, watch.busy, slow or watch.busy > _BUSY)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _percentile(ordered: Sequence[float], share: float) -> float:
    if not ordered:
        return math.nan
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
