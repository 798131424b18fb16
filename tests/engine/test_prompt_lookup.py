"""Guesses by prompt lookup, and by what grammars force."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxchat.engine.prompt_lookup import ForcedRate, PromptIndex, PromptLookup


class Look:
    """A lookup, and the answer that it reads."""

    def __init__(self, *before: np.ndarray) -> None:
        self.answer: list[int] = []
        self.lookup = PromptLookup(PromptIndex(*before), self.answer)

    def append(self, *tokens: int) -> None:
        self.answer += tokens
        self.lookup.catch_up()

    def guesses(self, limit: int) -> list[tuple[int, float]]:
        return self.lookup.guesses(limit)


class TestPromptLookup:
    def test_the_longest_match_is_taken(self) -> None:
        lookup = Look(np.array([1, 2, 3, 9, 8, 7, 3, 5, 5, 1, 2], np.int32))
        lookup.append(3)
        assert [token for token, _ in lookup.guesses(3)] == [9, 8, 7]

    def test_a_prediction_is_guessed_from_its_beginning(self) -> None:
        lookup = Look(np.array([1, 2, 3], np.int32), np.array([50, 51, 52, 53], np.int32))
        assert [token for token, _ in lookup.guesses(2)] == [50, 51]
        lookup.append(50)
        lookup.append(40)  # the answer departs from the prediction
        assert 51 not in [token for token, _ in lookup.guesses(1)]
        lookup.append(52)  # and comes back
        assert [token for token, _ in lookup.guesses(2)] == [53, 1]

    def test_a_loop_is_guessed_to_go_on(self) -> None:
        lookup = Look(np.array([9, 4, 5, 6, 4, 5, 6, 4, 5], np.int32))
        lookup.append(6)
        assert [token for token, _ in lookup.guesses(7)] == [4, 5, 6, 4, 5, 6, 4]

    @given(st.lists(st.integers(0, 3), min_size=0, max_size=30), st.lists(st.integers(0, 3), max_size=40))
    @settings(max_examples=60, deadline=None)
    def test_guesses_follow_the_newest_tokens_somewhere(self, prompt: list[int], answer: list[int]) -> None:
        lookup, known = Look(np.array(prompt, np.int32)), [*prompt]
        for token in answer:
            lookup.append(token)
            known.append(token)
            guesses = lookup.guesses(5)
            assert all(0 <= right <= 1 for _, right in guesses)
            if guesses:
                run = [known[-1], *(token for token, _ in guesses)]
                longer = [*known, *run[1:]]  # a guess may go on into itself
                assert any(longer[at : at + len(run)] == run for at in range(len(known) - 1))

    def test_wrong_guesses_lower_the_estimate_and_right_ones_raise_it(self) -> None:
        lookup = Look(np.tile(np.arange(9, dtype=np.int32), 4))
        before = lookup.guesses(1)[0][1]
        for token in range(9):
            lookup.append(token)
        assert lookup.guesses(1)[0][1] > before


class TestForcedRate:
    def test_it_falls_where_the_model_splits_text_otherwise(self) -> None:
        rate, answer = ForcedRate(), list[int]()
        first = rate.next([1, 2], answer)
        for _ in range(9):
            answer.append(7)
            last = rate.next([1, 2], answer)
        assert last < 0.4 < first
        for _ in range(20):
            answer += [1, 2]
            last = rate.next([1, 2], answer)
        assert last > 0.8
