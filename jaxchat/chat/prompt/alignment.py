"""Converts the places of control tokens in a rendering with decoys to places in the rendering of the true messages."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable

import numpy as np

from jaxchat.chat.prompt.splitter import Span

DECOY_LETTERS = "qxzjkvwy"
"""The letters of decoys. No notation of a template writes them as several characters."""
_CHANGED = frozenset(DECOY_LETTERS + DECOY_LETTERS.upper())  # a template may print a message in capitals
_CODES = np.array([ord(letter) for letter in sorted(_CHANGED)], np.uint32)
_ESCAPE = r"(?:\\|%5C)"  # of JSON and Python, possibly in a URL
_NOTATION = re.compile(
    rf"{_ESCAPE}(?:u[dD][89abAB]\w\w{_ESCAPE})?u\w{{4}}|{_ESCAPE}x\w\w|{_ESCAPE}(?:%\w\w|.)"
    r"|%[0-7]\w|%[CD]\w%\w\w|%E\w(?:%\w\w){2}|%F\w(?:%\w\w){3}"  # of URLs, in UTF-8
    r"|&#?\w+;"  # of HTML
    r"|.",
    re.DOTALL,
)
"""One character of a message, in the notations in which templates print text."""
_WINDOW = 64  # characters that are compared first, twice as many each time


def template_spans(rendered: str, decoy: str, spans: Iterable[Span]) -> list[Span] | None:
    """Returns the places in `rendered` of the control tokens that the template itself writes.

    A decoy is a message in which one letter of each spelling of a control token is changed, see `control_tokens`.
    Returns None if the renderings differ elsewhere than in changed letters, or if a control token of the template is
    spelled differently in `rendered`. The template then treats the two conversations differently, and the places cannot
    be found.

    Args:
        rendered: the template rendered with the messages.
        decoy: the template rendered with the decoys. If the template escapes text, as in URLs, a letter of
            `decoy` may correspond to several characters of `rendered`.
        spans: the control tokens in `decoy`.
    """
    ours, theirs = _codes(rendered), _codes(decoy)
    aligned = _shifts(rendered, ours, theirs)
    if aligned is None:
        return None
    places, shifts = aligned
    moved = []
    for span in spans:
        shift = shifts[bisect_right(places, span.start) - 1]
        start, end = span.start + shift, span.end + shift
        if rendered[start:end] != decoy[span.start : span.end]:
            return None
        moved.append(Span(start, end, span.token))
    return moved


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _shifts(rendered: str, ours: np.ndarray, theirs: np.ndarray) -> tuple[list[int], list[int]] | None:
    """Returns the numbers to be added to indices of the decoy, to get indices of `rendered`.

    The first list has ascending indices of the decoy, beginning with 0. The second list has one number for each of
    these indices, to be added from this index up to the next index of the first list.

    Returns None if the renderings differ in more than the letters of decoys.

    Args:
        rendered: the template rendered with the messages.
        ours: the code points of `rendered`, u32 `[n]`.
        theirs: the code points of the decoy, u32 `[m]`.
    """
    if len(ours) == len(theirs):
        return ([0], [0]) if np.isin(theirs[ours != theirs], _CODES).all() else None
    places, shifts = [0], [0]
    place = shift = 0
    while (place := _difference(ours[shift:], theirs, place)) < len(theirs):
        notation = _NOTATION.match(rendered, place + shift)
        if notation is None or chr(theirs[place]) not in _CHANGED:
            return None
        place, shift = place + 1, shift + len(notation[0]) - 1
        places.append(place)
        shifts.append(shift)
    return (places, shifts) if len(ours) == len(theirs) + shift else None


def _difference(ours: np.ndarray, theirs: np.ndarray, start: int) -> int:
    """Returns the first index from `start` at which `ours` and `theirs` differ, or the length of `theirs`.

    `ours` and `theirs` are u32 with one axis.
    """
    window = _WINDOW
    while start < len(theirs):
        part = theirs[start : start + window]
        same = ours[start : start + window]
        size = min(len(part), len(same))
        differs = part[:size] != same[:size]
        if differs.any():
            return start + int(differs.argmax())
        if size < len(part):
            return start + size
        start, window = start + window, 2 * window
    return len(theirs)
