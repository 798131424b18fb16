"""What is asked for, and what the times of tokens come to."""

from __future__ import annotations

import numpy as np
import pytest

from tools.bench.cases import ARRIVALS, LONG, SHORT, Case, steady_rate

VOCAB = 2048


@pytest.mark.parametrize("name", ["prefill-512", "decode-8", "mix-0.5"])
def test_a_name_is_read_back(name: str) -> None:
    assert Case.parse(name).name == name


@pytest.mark.parametrize("name", ["prefill", "decode-x", "decode-0", "decode-257", "prefill-1024", "mix--1", "soak-3"])
def test_a_wrong_name_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"case {name!r}"):
        Case.parse(name)


def test_requests_are_the_same_for_a_seed_and_no_two_prompts_are_alike() -> None:
    case = Case.parse("decode-8")
    requests = case.requests(3, VOCAB)
    assert requests == case.requests(3, VOCAB)
    prompts = {tuple(request.prompt) for seed in (3, 4) for request in case.requests(seed, VOCAB)}
    assert len(prompts) == 16 and {len(prompt) for prompt in prompts} == {SHORT}


def test_a_mix_arrives_at_its_rate_with_short_and_long_prompts() -> None:
    mixes = [Case.parse("mix-2").requests(seed, VOCAB) for seed in range(40)]
    lasts = [requests[-1].at for requests in mixes]
    assert np.mean(lasts) == pytest.approx(ARRIVALS / 2, rel=0.1)  # a mean of 24 waits of half a second
    lengths = [len(request.prompt) for requests in mixes for request in requests]
    assert set(lengths) == {SHORT, LONG} and lengths.count(LONG) / len(lengths) == pytest.approx(0.25, abs=0.05)


def test_the_steady_rate_is_of_the_time_when_all_decode() -> None:
    alone = [0.0, 1.0, 2.0, 3.0, 4.0]
    assert steady_rate([alone]) == 1.0
    late = [2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0]
    assert steady_rate([alone, late]) == pytest.approx(3.0)  # 2 and 4 of them in the two seconds of both


def test_the_steady_rate_of_waves_is_that_of_a_full_wave() -> None:
    waves = [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0], [2.5, 3.5, 4.5], [2.6, 3.5, 4.5]]
    assert steady_rate(waves) == pytest.approx(2.0)


def test_figures_of_each_kind() -> None:
    prefill = Case.parse("prefill-100")
    assert prefill.figures(prefill.requests(0, VOCAB), [[0.5]]) == {"rate": 200.0}
    mix = Case.parse("mix-1")
    requests = mix.requests(0, VOCAB)
    times = [[request.at + 0.2, request.at + 0.3] for request in requests]
    found = mix.figures(requests, times)
    assert found["first_p50"] == pytest.approx(0.2) and found["gap_p99"] == pytest.approx(0.1)
    assert found["overall"] == pytest.approx(2 * ARRIVALS / (requests[-1].at + 0.3))
