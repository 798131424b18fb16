"""Stop strings at every split of the text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jaxchat.chat.response.stop import StopMatcher, held_back

texts = st.text("ab\n", max_size=24)
stop_lists = st.lists(st.text("ab\n", min_size=1, max_size=4), min_size=1, max_size=4)


@st.composite
def splits(draw: st.DrawFn) -> list[str]:
    text = draw(texts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(splits(), stop_lists)
def test_nothing_leaks_and_nothing_is_lost(pieces: list[str], stops: list[str]) -> None:
    matcher, released, fed = StopMatcher(stops), "", ""
    for piece in pieces:
        released += matcher.feed(piece)
        fed += piece
        if matcher.matched:
            break
        assert not any(stop in fed for stop in stops)
        assert fed.startswith(released) and held_back(fed, stops) == len(fed) - len(released)
    if matcher.matched:
        assert released == fed[: min(fed.find(stop) for stop in stops if stop in fed)]
    else:
        assert released + matcher.flush() == fed


@given(texts, stop_lists)
def test_what_is_held_back_is_the_longest_possible_beginning(text: str, stops: list[str]) -> None:
    sizes = [n for n in range(1, len(text) + 1) if any(s.startswith(text[-n:]) and len(s) > n for s in stops)]
    assert held_back(text, stops) == max(sizes, default=0)


@given(splits(), stop_lists, st.integers(0, 6))
def test_a_stop_string_that_ends_in_ignored_text_is_passed_over(
    pieces: list[str], stops: list[str], ignored: int
) -> None:
    matcher, shown = StopMatcher(stops), ""
    for place, piece in enumerate(pieces):
        if not matcher.matched:
            shown += matcher.feed(piece, ignored=len(piece) * (place < ignored))
    text, start = "".join(pieces), len("".join(pieces[:ignored]))
    ends = [(at, stop) for stop in stops for at in range(len(text)) if text.startswith(stop, at)]
    counted = [(at, at + len(stop)) for at, stop in ends if at + len(stop) > start]
    assert matcher.matched == bool(counted)
    if not counted:
        assert shown + matcher.flush() == text
        return
    cuts = [0]
    for piece in pieces:
        cuts.append(cuts[-1] + len(piece))
    complete = min(cut for cut in cuts if any(end <= cut for _, end in counted))
    assert shown == text[: min(at for at, end in counted if end <= complete)]


def test_what_was_ignored_is_forgotten_where_no_stop_string_can_go_on() -> None:
    matcher = StopMatcher(["abc", "S"])
    assert matcher.feed("xab", ignored=3) + matcher.flush() == "xab"
    assert matcher.feed("yS") == "y" and matcher.matched
