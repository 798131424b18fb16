"""Temperature, nucleus, penalties and bias, judged by the distributions that the answers themselves report."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from tests.contract.answers import Entry
from tests.contract.covering import covers
from tests.contract.doors import Door
from tests.contract.echo import END
from tests.contract.tokens import ID_OF, SIZE, TEXTLESS

LENGTH = 16  # fewer than the 20 tokens reported, so that one of these is always unseen and the oracle is exact
ASKED = dict(max_tokens=LENGTH, logprobs=True, top_logprobs=20, logit_bias=TEXTLESS, seed=4)
GREEDY = ASKED | dict(temperature=0)


def token_bytes(entries: list[Entry]) -> list[bytes]:
    return [entry.bytes for entry in entries]


def penalised_argmax(entry: Entry, used: Counter[bytes], frequency: float = 0, presence: float = 0) -> bytes:
    """What a penalised greedy choice takes of the reported candidates."""
    scores = {
        top.bytes: top.logprob - used[top.bytes] * frequency - (used[top.bytes] > 0) * presence
        for top in entry.top
        if top.bytes
    }
    return max(scores, key=scores.__getitem__)


@covers("ChatCompletionRequest.temperature")
def test_temperature_zero_takes_the_likeliest_and_two_does_not(door: Door) -> None:
    greedy = door.ask(**GREEDY)
    assert token_bytes(greedy.entries) == [penalised_argmax(entry, Counter()) for entry in greedy.entries]
    assert len(greedy.entries) == LENGTH and greedy.finish == "length"
    assert token_bytes(door.ask(**GREEDY | {"seed": 5, "top_p": 0.5}).entries) == token_bytes(greedy.entries)
    assert token_bytes(door.ask(**ASKED, temperature=9e-6).entries) == token_bytes(greedy.entries)
    assert token_bytes(door.ask(**ASKED, temperature=2).entries) != token_bytes(greedy.entries)


def test_absent_parameters_have_the_defaults_of_the_reference(door: Door) -> None:
    defaults = dict(temperature=1, top_p=1, frequency_penalty=0, presence_penalty=0, n=1, top_k=0, min_p=0)
    drawn = door.ask(**ASKED)
    assert door.ask(**ASKED, **defaults, repetition_penalty=1, min_tokens=0).entries == drawn.entries
    assert door.ask(**GREEDY).entries != drawn.entries


def test_a_lower_temperature_stays_nearer_to_the_likeliest(door: Door) -> None:
    def total_logprob(temperature: float) -> float:
        fields = ASKED | {"max_tokens": 60, "exact_logprobs": True, "temperature": temperature}
        return sum(entry.logprob for entry in door.ask(**fields).entries)

    assert total_logprob(0.2) > total_logprob(0.7) > total_logprob(2)


@covers("ChatCompletionRequest.top_p")
@pytest.mark.parametrize("top_p", [0, 0.3])
def test_top_p_keeps_the_shortest_prefix_that_holds_it(door: Door, top_p: float) -> None:
    bias = dict.fromkeys(TEXTLESS, 0) | {str(END): -100}
    answer = door.ask(**ASKED | {"logit_bias": bias, "max_tokens": 40}, top_p=top_p, temperature=1)
    outside = 0
    for entry in answer.entries:
        before = sum(math.exp(top.logprob) for top in entry.top if top.logprob > entry.logprob)
        assert before <= top_p + 0.05  # the end of turn is missing from the nucleus, not from the report
        outside += entry.bytes != entry.top[0].bytes
    assert outside == 0 if top_p == 0 else outside > 0


@covers("ChatCompletionRequest.frequency_penalty", "ChatCompletionRequest.presence_penalty")
@pytest.mark.parametrize(("frequency", "presence"), [(2, 0), (0, 2), (-2, 0), (0.5, -2), (1, 1.5)])
def test_penalties_count_what_this_choice_has_sampled(door: Door, frequency: float, presence: float) -> None:
    answer = door.ask(**GREEDY, frequency_penalty=frequency, presence_penalty=presence)
    used: Counter[bytes] = Counter()
    for entry in answer.entries:
        beyond = used[entry.bytes] and entry.bytes not in {top.bytes for top in entry.top}
        assert entry.bytes == penalised_argmax(entry, used, frequency, presence) or (
            beyond and min(frequency, presence) < 0
        )
        used[entry.bytes] += 1


def test_a_negative_penalty_makes_repetition_likelier(door: Door) -> None:
    free, drawn = (len(set(token_bytes(door.ask(**GREEDY, frequency_penalty=by).entries))) for by in (0, -2))
    assert drawn < free


def test_penalties_do_not_count_the_prompt(door: Door) -> None:
    first = door.ask(**GREEDY | {"max_tokens": 1}).entries[0]
    mentioned = [{"role": "user", "content": "x" * 50}]
    for penalty in (-2, 2):
        fields = GREEDY | {"messages": mentioned, "max_tokens": 1}
        free = door.ask(**fields).entries
        assert door.ask(**fields, presence_penalty=penalty, frequency_penalty=penalty).entries == free
    assert door.ask(**GREEDY | {"max_tokens": 1}, presence_penalty=2, frequency_penalty=2).entries == [first]


@covers("ChatCompletionRequest.logit_bias")
def test_a_bias_is_added_to_the_logit(door: Door) -> None:
    (entry,) = door.ask(**GREEDY | {"max_tokens": 1}).entries
    best, second = [top for top in entry.top if top.bytes][:2]
    gap = best.logprob - second.logprob
    for bias, expected in ((gap + 0.01, second), (gap - 0.01, best)):
        biased = door.ask(**GREEDY | {"max_tokens": 1, "logit_bias": TEXTLESS | {str(ID_OF[second.bytes]): bias}})
        assert biased.entries[0].bytes == expected.bytes
        assert biased.entries[0].top == entry.top, "reported are the model's own probabilities"


def test_bias_of_minus_100_bans_and_100_admits_nothing_else(door: Door) -> None:
    best = door.ask(**GREEDY).entries[0].bytes
    banned = door.ask(**GREEDY | {"logit_bias": TEXTLESS | {str(ID_OF[best]): -100}})
    assert best not in token_bytes(banned.entries)
    only = door.ask(**ASKED | {"logit_bias": {"65": 100, "66": 100, "67": 99}}, temperature=2)
    assert {ID_OF[piece] for piece in token_bytes(only.entries)} == {65, 66}
    assert only.finish == "length", "the end of the turn is a token like others"


def test_bias_decides_on_the_end_of_the_turn_too(door: Door) -> None:
    ended = door.ask(max_tokens=5, logit_bias={str(END): 100})
    assert (ended.text, ended.finish, ended.usage and ended.usage[1]) == ("", "stop", 1)
    assert door.ask(max_tokens=40, logit_bias={str(END): -100}).finish == "length"


def test_bans_that_leave_nothing_are_dropped(door: Door) -> None:
    every = {str(token): -100 for token in range(SIZE)}
    answer = door.ask(**ASKED | {"logit_bias": every, "max_tokens": 3})
    assert answer.usage and 1 <= answer.usage[1] <= 3
