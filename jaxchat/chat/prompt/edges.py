"""Finds the places in a message where a chat template could add the missing part of a control token."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator


class Edges:
    """A searcher for parts of control tokens at both ends of messages.

    A template may remove certain strings from messages, or split messages at them. These strings are called cuts. The
    searcher therefore also looks at both ends of the pieces between cuts.
    """

    def __init__(self, spellings: Iterable[str], cuts: Iterable[str], normalize: Callable[[str], str] | None) -> None:
        """Compiles the parts.

        Args:
            spellings: the control tokens.
            cuts: strings that the template may remove from messages, or at which it may split messages.
            normalize: the tokenizer's normaliser; None if the tokenizer searches unchanged text for control tokens.
        """
        spellings = set(spellings)
        self._cuts = sorted(cuts)
        self._normalize = normalize
        self._longest = max(map(len, spellings), default=0)
        heads = {token[:end] for token in spellings for end in range(1, len(token))}
        tails = {token[start:] for token in spellings for start in range(1, len(token))}
        self._heads = _by_char(heads, -1)
        self._tails = _by_char(tails, 0)

    def of(self, text: str) -> list[int]:
        """Returns the places where a template could complete a control token, as indices of characters in `text`.

        Looks at `text` as a whole and at its pieces between cuts, without the white space around them. If a piece
        begins with the last characters of a control token, the result has the index of the piece's first character. If
        a piece ends with the first characters of a control token, the result has the index of the piece's last
        character.
        """
        edges = list(self._of_piece(text, 0))
        for cut in self._cuts:
            if cut in text:
                start = 0
                for piece in text.split(cut):  # as templates do; other cuts are searched for separately
                    edges += self._of_piece(piece, start)
                    start += len(piece) + len(cut)
        return edges

    def _of_piece(self, piece: str, start: int) -> Iterator[int]:
        stripped = piece.strip()
        if not stripped:
            return
        first, last = stripped[: self._longest], stripped[-self._longest :]
        if self._normalize:
            first, last = self._normalize(first), self._normalize(last)
        begins, ends = self._tails.get(first[:1]), self._heads.get(last[-1:])
        if begins and any(first[:size] in parts for size, parts in begins):
            yield start + piece.index(stripped[0])
        if ends and any(last[-size:] in parts for size, parts in ends):
            yield start + len(piece.rstrip()) - 1


def _by_char(parts: Iterable[str], place: int) -> dict[str, list[tuple[int, set[str]]]]:
    """Groups parts by their character at the index `place`, and then by length. Shorter parts come first."""
    table: dict[str, dict[int, set[str]]] = {}
    for part in parts:
        table.setdefault(part[place], {}).setdefault(len(part), set()).add(part)
    return {char: sorted(sizes.items()) for char, sizes in table.items()}
