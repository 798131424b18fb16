"""Finds stop strings, even if they extend over several tokens, and removes them completely from the output."""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    """A filter that passes text on until a stop string is complete.

    Holds back text that may be the beginning of a stop string.

    Args:
        stops: the stop strings.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._pending = ""
        self._ignored = 0  # length of the beginning of `_pending` in which no stop string may end
        self.matched = False

    def feed(self, text: str, *, ignored: int = 0) -> str:
        """Returns the text that can be released. Sets `matched` when a stop string is complete.

        Must not be called again after a match.

        Args:
            text: the next text.
            ignored: number of characters at the beginning of `text` in which no stop string may end. A stop string may
                begin in these characters and end after them.
        """
        if not self._stops:
            return text
        if ignored:
            self._ignored = len(self._pending) + ignored
        text = self._pending + text
        found = (text.find(stop, max(0, self._ignored - len(stop) + 1)) for stop in self._stops)
        starts = [start for start in found if start >= 0]
        if starts:
            self.matched, self._pending = True, ""
            return text[: min(starts)]
        size = held_back(text, self._stops)
        self._pending = text[len(text) - size :]
        self._ignored = max(0, self._ignored - (len(text) - size))
        return text[: len(text) - size]

    def flush(self) -> str:
        """Returns the text that was held back. Call it where no stop string can continue, as at the answer's end."""
        text, self._pending, self._ignored = self._pending, "", 0
        return text


def held_back(text: str, strings: Sequence[str]) -> int:
    """Returns the length of the longest suffix of `text` that is a proper prefix of one of `strings`."""
    longest = max(map(len, strings), default=1) - 1
    for size in range(min(longest, len(text)), 0, -1):
        if any(len(string) > size and string.startswith(text[-size:]) for string in strings):
            return size
    return 0
