"""Decodes the text of thoughts while their tokens arrive."""

from __future__ import annotations

import codecs


class ThoughtText:
    """A decoder for the thoughts of one answer.

    An answer may have several blocks of thoughts. Drops the line breaks at both ends of each block, because they belong
    to the markers. Joins blocks by a line break.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""  # line breaks that may end the block
        self._begun = False  # whether the block has text
        self._joint = ""  # before the text of the next block

    def feed(self, piece: bytes) -> str:
        """Returns the text that the bytes of the next token complete."""
        return self._release(self._decoder.decode(piece))

    def close(self) -> str:
        """Ends the block. If its last character is incomplete, returns a replacement character, otherwise ""."""
        text = self._release(self._decoder.decode(b"", final=True))
        self._decoder.reset()
        self._held, self._begun = "", False
        return text

    def _release(self, text: str) -> str:
        if not self._begun:
            text = text.lstrip("\n")
            if not text:
                return ""
            text = self._joint + text
            self._begun, self._joint = True, "\n"
        text = self._held + text
        shown = text.rstrip("\n")
        self._held = text[len(shown) :]
        return shown
