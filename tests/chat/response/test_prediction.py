"""Which tokens of a prediction an answer repeats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxchat.chat.response.prediction import Prediction, PredictionMatcher

texts = st.lists(st.integers(0, 3), max_size=12)


def accepted(prediction: list[int], answer: list[int]) -> int:
    matcher = PredictionMatcher(Prediction(np.array(prediction, np.int32)))
    for token in answer:
        matcher.append(token)
    return matcher.accepted


def by_search(prediction: list[int], answer: list[int]) -> int:
    """The same by looking through the whole prediction after each difference."""
    repeated, place = set[int](), 0
    for count, token in enumerate(answer, 1):
        if place < len(prediction) and prediction[place] == token:
            repeated.add(place)
            place += 1
            if place < len(prediction):
                continue
        after = {size: answer[max(0, count - size) : count] for size in (3, 1)}
        places = [
            max((at for at in range(size, len(prediction)) if prediction[at - size : at] == after[size]), default=None)
            for size in (3, 1)
        ]
        place = next((at for at in places if at is not None), len(prediction))
    return len(repeated)


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("abcdef", "abcdef", 6),
        ("abcdef", "abc", 3),
        ("abc", "abcdef", 3),
        ("abc", "xyz", 0),
        ("abc", "", 0),
        ("abcdef", "abXdef", 4),  # a b, then e f after d
        ("abcdef", "XXXcdef", 3),
        ("fgh. abc. abd", "abc. abd", 5),  # b after the last a, then all after a b c, where b comes again
        ("abc", "abcabcabc", 3),  # each once
        ("aaaa", "aaaaaaa", 4),
    ],
)
def test_tokens_are_accepted_in_order_and_after_differences(prediction: str, answer: str, expected: int) -> None:
    tokens = [ord(char) for char in prediction], [ord(char) for char in answer]
    assert by_search(*tokens) == expected
    assert accepted(*tokens) == expected


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), texts)
def test_the_index_finds_what_a_search_finds(prediction: list[int], answer: list[int]) -> None:
    assert accepted(prediction, answer) == by_search(prediction, answer) <= min(len(prediction), len(answer))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_a_right_prediction_is_accepted_whole(answer: list[int]) -> None:
    assert accepted(answer, answer) == len(answer)


@given(texts, texts, st.lists(st.integers(0, 3), min_size=1))
def test_a_longer_answer_accepts_no_less(start: list[int], more: list[int], prediction: list[int]) -> None:
    assert accepted(prediction, start) <= accepted(prediction, start + more)
