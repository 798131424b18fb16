"""Converts the spellings of tokens to bytes, as the entry `decoder` of a `tokenizer.json` demands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


class Decoder:
    """A converter from the spellings of one tokenizer's tokens to bytes."""

    def __init__(self, spec: dict[str, Any] | None) -> None:
        """Reads `spec`, the entry `decoder` of a `tokenizer.json`; None if the file has no such entry."""
        steps = list(_steps(spec))
        self._alphabet = _byte_alphabet() if any(step["type"] == "ByteLevel" for step in steps) else None
        self._replacements = [pair for step in steps if (pair := _replacement(step))] or [("\u2581", " ")]
        self.strips_first_space = any(map(_strips, steps))

    def bytes_of(self, token: str) -> bytes:
        """Returns the bytes of a token of the model's vocabulary."""
        if self._alphabet:
            return b"".join(self._alphabet.get(char, char.encode()) for char in token)
        if match := _BYTE_TOKEN.fullmatch(token):
            return bytes([int(match[1], 16)])
        for old, new in self._replacements:
            token = token.replace(old, new)
        return token.encode()

    def bytes_of_added(self, token: str) -> bytes:
        """Returns the bytes of an added token.

        If the vocabulary is byte-level, returns the UTF-8 bytes of the token's spelling. Otherwise returns the same
        bytes as `bytes_of`.
        """
        return token.encode() if self._alphabet else self.bytes_of(token)


def _steps(spec: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    if spec and spec["type"] == "Sequence":
        for step in spec["decoders"]:
            yield from _steps(step)
    elif spec:
        yield spec


def _replacement(step: dict[str, Any]) -> tuple[str, str] | None:
    if step["type"] == "Replace" and "String" in step["pattern"]:
        return step["pattern"]["String"], step["content"]
    return (step["replacement"], " ") if step["type"] == "Metaspace" else None


def _strips(step: dict[str, Any]) -> bool:
    """Returns whether a step removes the space that the tokenizer adds in front of a text."""
    if step["type"] == "Strip":
        return step["content"] == " " and step["start"] > 0
    never = step.get("prepend_scheme") == "never" or step.get("add_prefix_space") is False
    return step["type"] == "Metaspace" and not never


def _byte_alphabet() -> dict[str, bytes]:
    """Returns the byte for each character of GPT-2's alphabet.

    A byte that is a printable Latin-1 character is written as this character. The other bytes are written as characters
    from U+0100 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): bytes([byte]) for byte in printable}
    return table | {chr(0x100 + index): bytes([byte]) for index, byte in enumerate(others)}
