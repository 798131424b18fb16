"""Stop strings: found across token borders, never shown, not even in part."""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    """Passes text through until a stop string is complete; holds back what might still become one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.matched = False

    def feed(self, text: str) -> str:
        """The text that may be shown now. After a match, which sets `matched`, nothing more may be fed."""
        if not self._stops:
            return text
        text = self._held + text
        starts = [start for start in (text.find(stop) for stop in self._stops) if start >= 0]
        if starts:
            self.matched, self._held = True, ""
            return text[: min(starts)]
        keep = held_back(text, self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """The text held back, at the end of the answer."""
        text, self._held = self._held, ""
        return text


def held_back(text: str, strings: Sequence[str]) -> int:
    """Length of the longest suffix of `text` that is a proper prefix of one of `strings`."""
    longest = max(map(len, strings), default=1) - 1
    for size in range(min(longest, len(text)), 0, -1):
        if any(len(string) > size and string.startswith(text[-size:]) for string in strings):
            return size
    return 0
