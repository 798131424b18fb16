"""Where a JSON object ends in text that goes on behind it."""

from __future__ import annotations

import re

_MARK = re.compile(r'[{}\[\]"\\]')
_ENDS_STRING = re.compile(r'["\\]')


class JsonEnd:
    """Follows one object, text by text, without judging it."""

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self.ended = False

    def find(self, text: str) -> int:
        """How many of the characters that come next belong to the object; sets `ended` at its last one."""
        at = 0
        while at < len(text) and not self.ended:
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            mark = (_ENDS_STRING if self._quoted else _MARK).search(text, at)
            if not mark:
                return len(text)
            at = mark.end()
            self._take(mark[0])
        return at

    def _take(self, mark: str) -> None:
        if mark == '"':
            self._quoted = not self._quoted
        elif mark == "\\":
            self._escaped = True
        else:
            self._depth += 1 if mark in "{[" else -1
            self.ended = self._depth == 0
