"""Token masks: grammars that must see each token, and stop tokens that come too early."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
import pytest

from jaxchat.arithmetic import token_bits
from jaxchat.engine import sequence
from jaxchat.engine.scheduler import Step
from tests.engine.harness import Harness, ask


class Counting:
    """A grammar that allows exactly the token that the fake device samples next, and records the tokens it accepts."""

    def __init__(self, first: int, end: int = -1) -> None:
        self.next, self.end, self.fills = first, end, 0

    def start(self) -> Counting:
        return self

    def fill(self, row: np.ndarray) -> None:
        self.fills += 1
        row[self.next // 32] |= np.uint32(1 << self.next % 32)

    def accept(self, token: int) -> None:
        if token != self.next:
            raise ValueError(f"{token} instead of {self.next}")
        self.next += 1

    def forced(self) -> list[int]:
        return []

    def copy(self) -> Counting:
        return copy(self)

    def is_end(self, token: int) -> bool:
        return token == self.end


def test_a_constrained_row_waits_for_each_token_while_others_run() -> None:
    harness = Harness(vocab=2000)
    plain = ask(40, 30)
    grammar = Counting(int(ask(20, 25, seed=4).prompt[-1]))
    ruled = replace(ask(20, 25, seed=4), grammar=grammar)
    numbers = [harness.engine.submit(plain), harness.engine.submit(ruled)]
    actual = harness.gather(2)
    assert [len(actual[number, 0]) for number in numbers] == [30, 25]
    assert grammar.fills == 25
    masks = [work for work in harness.runner.decodes if work.token_mask is not None]
    assert len(masks) == 24 and all(work.constrained.sum() == 1 for work in masks)
    assert len(harness.runner.decodes) < 50  # both rows share steps
    harness.settle()


def test_a_grammar_that_cannot_go_on_fails_its_request_alone() -> None:
    class Stuck(Counting):
        def fill(self, row: np.ndarray) -> None:
            super().fill(row)
            if self.fills == 3:
                raise RuntimeError("too complex")

    harness = Harness(vocab=2000)
    stuck = replace(ask(20, 25, seed=4), grammar=Stuck(int(ask(20, 25, seed=4).prompt[-1])))
    numbers = [harness.engine.submit(stuck), harness.engine.submit(ask(10, 50))]
    actual = harness.gather(2)
    assert [event.finish for event in actual[numbers[0], 0]] == [None, None, "grammar_error"]
    assert len(actual[numbers[1], 0]) == 50
    harness.settle()


def test_a_token_that_its_grammar_forbids_fails_that_request_alone() -> None:
    harness = Harness(vocab=2000)
    wrong = replace(ask(20, 25, seed=4), grammar=Counting(1))
    numbers = [harness.engine.submit(wrong), harness.engine.submit(ask(10, 5))]
    actual = harness.gather(2)
    assert [event.finish for event in actual[numbers[0], 0]] == ["grammar_error"]
    assert len(actual[numbers[1], 0]) == 5
    harness.settle()


def test_stop_tokens_are_banned_for_the_first_tokens_without_waiting_for_results() -> None:
    harness = Harness(vocab=2000)
    numbers = [
        harness.engine.submit(replace(ask(40, 30, stop=25), min_tokens=3)),
        harness.engine.submit(replace(ask(20, 30, seed=4), min_tokens=0)),
    ]
    actual = harness.gather(2)
    assert [len(actual[number, 0]) for number in numbers] == [26, 30]
    (banned,) = ask(40, 30, stop=25).stop_tokens
    first, *others = [work for work in harness.runner.prefills if work.last]
    assert first.token_mask is not None and others[0].token_mask is None
    masks = [work for work in harness.runner.decodes if work.token_mask is not None]
    assert len(masks) == 2 and all(work.constrained.sum() == 1 for work in masks)
    for row in (first.token_mask, *(work.token_mask[work.constrained.argmax()] for work in masks)):
        assert _ids(~row) == [banned]
    assert not any(Step(work, ()).awaited for work in masks)
    harness.settle()


def test_a_grammar_that_allows_nothing_but_the_end_ends_a_short_answer() -> None:
    class Ending(Counting):
        """Allows the fake device's next token and one more; in the end only that token, which is a stop token."""

        def fill(self, row: np.ndarray) -> None:
            super().fill(row)
            if self.fills < 3:
                row[0] |= np.uint32(1)

    harness = Harness(vocab=2000)
    request = ask(20, 25, seed=4, stop=3)
    start = int(request.prompt[-1])
    request = replace(request, grammar=Ending(start, start + 2), min_tokens=9, stop_tokens=frozenset({0, start + 2}))
    actual = harness.gather_one(request)
    assert [event.finish for event in actual] == [None, None, "stop"]
    masks = [harness.runner.prefills[-1].token_mask, *(work.token_mask[0] for work in harness.runner.decodes)]
    assert [_ids(mask) for mask in masks[:3]] == [[start], [start + 1], [start + 2]]
    harness.settle()


def test_a_stop_token_that_a_short_answer_needs_for_its_text_does_not_end_it() -> None:
    harness = Harness(vocab=2000)
    request = ask(20, 25, seed=4)
    start = int(request.prompt[-1])
    request = replace(request, grammar=Counting(start), min_tokens=4, stop_tokens=frozenset({start + 3, start + 6}))
    actual = harness.gather_one(request)
    assert [event.token for event in actual] == [start + step for step in range(7)]
    assert [event.finish for event in actual] == [*6 * [None], "stop"]
    harness.settle()


def test_the_bits_of_stop_tokens_are_made_once_for_each_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(sequence, "token_bits", lambda *args: made.append(args) or token_bits(*args))
    harness = Harness(vocab=2000)
    harness.engine.submit(replace(ask(40, 30, choices=2, stop=25), min_tokens=9))
    harness.gather(2)
    assert len(made) == 2
    harness.settle()


def _ids(row: np.ndarray) -> list[int]:
    return [32 * word + bit for word in range(len(row)) for bit in range(32) if row[word] >> np.uint32(bit) & 1]
