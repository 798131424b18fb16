"""Figures of a load, against numpy, and what they say about the generator."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest

from serving.bench.figures import load_figures, spread
from serving.bench.load import GeneratorWatch, open_loop
from serving.bench.prompts import Body
from serving.bench.report import load_label, markdown
from serving.bench.request import Timing

CALM = GeneratorWatch(delays=[0.0001], busy=0.1)


def timing(scheduled: float, *, late: float = 0.0, first: float = 0.5, gap: float = 0.1, tokens: int = 5) -> Timing:
    arrivals = [scheduled + first + gap * index for index in range(tokens)]
    return Timing(scheduled, scheduled + late, arrivals, arrivals[-1] + 0.05, 7, tokens)


def test_percentiles_are_those_of_numpy() -> None:
    values = [Random(3).expovariate(1) for _ in range(57)]
    figures = spread(values)
    assert figures.mean == pytest.approx(np.mean(values))
    expected = np.percentile(values, [50, 90, 95, 99])
    assert [figures.p50, figures.p90, figures.p95, figures.p99] == pytest.approx(list(expected))
    assert spread([2.0]).p99 == 2.0 and math.isnan(spread([]).p50)


def test_the_figures_of_a_load() -> None:
    failed = Timing(9.0, 9.0, [9.5], 14.95, error="timeout")
    figures = load_figures("rate", 2.0, [timing(10.0), timing(12.0, gap=0.3, tokens=3), failed], CALM)
    assert figures.seconds == pytest.approx(14.95 - 9.0) and figures.requests == 2
    assert figures.output_rate == pytest.approx(8 / figures.seconds) and figures.errors == {"timeout": 1}
    assert figures.first_token.p99 == pytest.approx(0.5)
    assert figures.per_token.mean == pytest.approx((0.1 + 0.3) / 2)
    assert figures.inter_token.mean == pytest.approx((4 * 0.1 + 2 * 0.3) / 6)
    assert figures.whole.p50 == pytest.approx((0.95 + 1.15) / 2)
    assert not figures.generator.bottleneck


def test_several_tokens_in_an_event_shorten_the_time_of_a_token_and_not_that_between_events() -> None:
    figures = load_figures("rate", 1.0, [Timing(0.0, 0.0, [1.0, 2.0, 3.0], 3.0, 1, 9)], CALM)
    assert (figures.per_token.p50, figures.inter_token.p50) == (0.25, 1.0)


def test_latencies_count_from_the_due_time_however_late_a_request_is_sent() -> None:
    """Otherwise a generator that waits for a slow server hides how slow it is."""
    figures = load_figures("rate", 2.0, [timing(10.0, late=0.4)], CALM)
    assert figures.first_token.p50 == pytest.approx(0.5) and figures.whole.p50 == pytest.approx(0.95)
    assert figures.generator.late.p50 == pytest.approx(0.4) and figures.generator.bottleneck


@pytest.mark.parametrize(
    ("watch", "bottleneck"),
    [
        (CALM, False),
        (GeneratorWatch(delays=[0.02], busy=0.1), True),
        (GeneratorWatch(delays=[0.0001], busy=0.97), True),
    ],
)
def test_a_generator_that_does_not_keep_up_says_so(watch: GeneratorWatch, bottleneck: bool) -> None:
    figures = load_figures("concurrency", 4, [timing(1.0)], watch)
    assert figures.generator.bottleneck == bottleneck
    assert ("did not keep up" in markdown([figures])) == bottleneck
    assert load_label(figures) == "4 at a time"


async def test_arrivals_have_the_rate_and_are_random() -> None:
    due: list[float] = []

    async def send(body: Body, scheduled: float | None) -> Timing:
        assert scheduled is not None
        due.append(scheduled)
        return Timing(scheduled)

    timings = await open_loop(send, [{}] * 400, 2000.0, Random(1))
    assert due == sorted(due) == [timing.scheduled for timing in timings]
    gaps = np.diff(due)
    assert 0.19 < due[-1] - due[0] < 0.2 and np.std(gaps) == pytest.approx(np.mean(gaps), rel=0.2)


def test_a_table_says_nothing_where_nothing_was_measured() -> None:
    text = markdown([load_figures("rate", 2.0, [Timing(0.0, 0.0, [], 1.0, error="timeout")], CALM)])
    assert "nan" not in text and [cell.strip() for cell in text.splitlines()[2].split("|")[2:6]] == [
        "0",
        "1",
        "0.00",
        "",
    ]
    assert "2/s: 1 failed: timeout" in text
