"""The figures of prompts that arrive at once."""

from __future__ import annotations

from tools.bench.burst import burst, last_first_token, longest_gap


def test_prompts_arrive_together_and_differ() -> None:
    requests = burst(1, 5, 20, 2560, at=0.5)
    assert {(request.at, len(request.prompt)) for request in requests} == {(0.5, 20)}
    assert len({tuple(request.prompt) for request in requests}) == 5
    assert requests == burst(1, 5, 20, 2560, at=0.5) != burst(2, 5, 20, 2560, at=0.5)


def test_the_last_prompt_and_the_longest_gap_count() -> None:
    assert last_first_token([[0.2, 0.9], [0.5, 0.6], [0.1]]) == 0.5
    assert longest_gap([0.1, 0.2, 0.7, 0.8]) == 0.7 - 0.2
