"""Prompts and answers share the device."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxchat.engine.prefill_policy import PrefillPolicy


def sizes(policy: PrefillPolicy, tokens: int, running: int = 0, startable: int = 1) -> list[int]:
    """Steps of one prompt until it is done or the answers' turn."""
    actual = []
    while tokens > 0 and (size := policy.next_size(tokens, running, startable)):
        policy.prefilled(size)
        actual.append(size)
        tokens -= size
    return actual


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(1, [32]), (32, [32]), (33, [64]), (64, [64]), (65, [64, 32]), (128, [64, 64]), (192, [64, 64, 64]), (193, [256]),
     (256, [256]), (300, [256, 64]), (700, [256, 256, 64, 64, 64]), (1000, [256, 256, 256, 256])],
)  # fmt: skip
def test_large_steps_where_they_lack_less_than_a_smaller_one(tokens: int, expected: list[int]) -> None:
    assert sizes(PrefillPolicy((32, 64, 256)), tokens) == expected


def test_between_two_steps_of_those_who_run_prompts_get_two_chunks() -> None:
    policy = PrefillPolicy((32, 64, 256))
    assert sizes(policy, 1000, running=3) == [64]
    policy.decoded()
    assert sizes(policy, 20, running=3) == [32]
    assert sizes(policy, 20, running=3) == [32]
    assert policy.next_size(20, running=3, startable=1) == 0


def test_one_small_step_between_two_steps_of_those_who_run() -> None:
    policy = PrefillPolicy((64, 256))
    assert sizes(policy, 1000, running=3) == [64]
    assert policy.next_size(936, running=3, startable=1) == 0
    policy.decoded()
    assert sizes(policy, 936, running=3) == [64]


def test_few_wait_for_many() -> None:
    policy = PrefillPolicy((64, 256))
    assert [policy.next_size(40, running=2, startable=8) and (policy.prefilled(64) or 64) for _ in range(5)] == [
        64
    ] * 4 + [0]
    policy.decoded()
    assert sizes(policy, 1000, running=1, startable=30) == [256]


@given(
    buckets=st.sampled_from([(32,), (64, 256), (16, 64, 128)]), tokens=st.integers(1, 3000),
    running=st.integers(0, 40), startable=st.integers(1, 300),
)  # fmt: skip
def test_answers_get_their_turn_and_prompts_their_end(
    buckets: tuple[int, ...], tokens: int, running: int, startable: int
) -> None:
    policy, remaining, rounds = PrefillPolicy(buckets), tokens, 0
    while remaining > 0:
        actual = sizes(policy, remaining, running, startable)
        assert actual and set(actual) <= set(buckets)
        if running:
            assert sum(actual) <= buckets[-1]
        remaining -= sum(actual)
        policy.decoded()
        rounds += 1
    assert rounds <= 1 + tokens // buckets[0]
