"""What an engine counts of its steps and of its prefix cache."""

from __future__ import annotations

from math import inf

from jaxchat.engine.stats import BOUNDS, EngineStats, StepTokens
from tests.engine.harness import CHUNK, Harness, ask
from tests.test_html import Parsed


def test_tokens_and_lookups_of_two_equal_prompts() -> None:
    running = Harness(slots=1)
    for _ in range(2):
        running.gather_one(ask(2 * CHUNK + 5, 4))
    running.settle()
    stats = running.engine.stats
    assert (stats.prefix_queries, stats.prefix_hits) == (2 * (2 * CHUNK + 5), 2 * CHUNK)
    prefill = sum(step.tokens for step in running.runner.prefill_steps)
    decode = sum(len(step.slots) for step in running.runner.decodes)
    assert prefill == 2 * CHUNK + 5 + 5 and stats.tokens == prefill + decode
    assert sum(stats.step_tokens.values()) == stats.steps  # nothing was swapped
    assert stats.step_tokens[CHUNK] == 2 and stats.step_tokens[1] == len(running.runner.decodes)


def test_a_step_counts_under_the_smallest_bound_that_holds_it() -> None:
    steps = StepTokens()
    for tokens in (0, 1, 2, 8, 9, 16384, 16385):
        steps.record(tokens)
    assert list(steps.counts) == [*BOUNDS, inf] and steps.total == 2 * 16384 + 21
    assert {bound: count for bound, count in steps.counts.items() if count} == {1: 1, 8: 2, 16: 1, 16384: 1, inf: 1}


def test_engines_add_up() -> None:
    first = EngineStats(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, {1: 1, 8: 2})
    second = EngineStats(10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, {1: 3, inf: 4})
    assert first + second == EngineStats(11, 22, 33, 44, 55, 66, 77, 88, 99, 110, 121, {1: 4, 8: 2, inf: 4})


def test_a_notebook_shows_the_counts() -> None:
    stats = EngineStats(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11_000, {1: 12, 8: 0, inf: 4})
    text = Parsed(stats._repr_html_()).text
    assert "waiting1running2pages in use3" in text and "tokens11,000" in text
    assert text.endswith("steps by tokens12 of up to 1, 4 of up to inf")
    assert stats.load == "2 running, 1 waiting, 3 of 4 KV pages in use"
