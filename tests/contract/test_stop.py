"""Stop strings: across token borders, never shown, and what is held back for them is not lost."""

from __future__ import annotations

import pytest

from tests.contract.covering import covers
from tests.contract.doors import Door
from tests.contract.echo import SPLIT

CASES = [
    ("abcdef", "cd", "ab"),
    ("abcdef", ["ef", "bc"], "a"),
    ("abcdef", ["bcd", "bc", "x", "y"], "a"),
    ("abcdef", "abc", ""),
    ("a€😀b", "😀", "a€"),
    ("the hehe", "heh", "the "),
    ("aab", "ab", "a"),
    ("ABC", "b", "ABC"),
    ("a.c", ".", "a"),
    ("abab<sto", "<stop>", "abab<sto"),
    ("line\n\nnext", "\n\n", "line"),
    ("a\x00b", "\x00", "a"),
    ("aaa", ["aaaa", "aaaaa"], "aaa"),
    ("ab", [], "ab"),
    ("ab", None, "ab"),
]


@covers("ChatCompletionRequest.stop")
def test_an_answer_ends_before_the_first_stop_string(echo: Door) -> None:
    for message, stop, shown in CASES:
        answer = echo.ask(messages=[{"role": "user", "content": message}], stop=stop)
        assert (answer.text, answer.finish) == (shown, "stop"), (message, stop)


@pytest.mark.parametrize(("limit", "shown"), [(4, "ab<s"), (6, "ab<sto"), (8, "ab")])
def test_the_limit_releases_what_was_held_back(echo: Door, limit: int, shown: str) -> None:
    answer = echo.ask(messages=[{"role": "user", "content": "ab<stop>cd"}], stop="<stop>", max_tokens=limit)
    assert (answer.text, answer.finish) == (shown, "stop" if limit == 8 else "length")


def test_each_choice_stops_by_itself_and_swallowed_tokens_count(echo: Door) -> None:
    message = {"role": "user", "content": f"abXYcd{SPLIT}abXcd{SPLIT}XY"}
    answer = echo.ask(messages=[message], n=3, stop="XY")
    assert [said.text for said in answer.choices] == ["ab", "abXcd", ""]
    assert [said.finish for said in answer.choices] == ["stop"] * 3
    assert answer.usage and answer.usage[1] == 4 + 6 + 2


def test_a_stop_string_that_is_half_seen_is_not_shown_before_it_is_decided(echo: Door) -> None:
    entries = echo.ask(messages=[{"role": "user", "content": "abXYcdXYZ!"}], stop="XYZ", logprobs=True, top_logprobs=0)
    assert entries.text == "abXYcd" and entries.choices[0].entry_bytes == b"abXYcd"
