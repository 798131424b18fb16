"""Tells the control tokens that a chat template writes from their spellings in message text.

Templates always see the true text. If a message holds the spelling of a control token, the template is rendered once
more with decoys: messages of equal length in which a letter of each such spelling differs. The control tokens of that
second rendering are the template's own. All other spellings in the first rendering are text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from tokenizers import AddedToken, Tokenizer, models, normalizers

from jaxchat.errors import invalid

_LETTERS, _OTHER = "qxzjkvw", "y"
_ROLES = frozenset(("system", "user", "assistant", "tool"))
_SEPARATOR = "\0"  # keeps a spelling from beginning in one string and ending in the next


class Span(NamedTuple):
    """A control token in a text, with the white space that it absorbs."""

    start: int
    end: int
    token: int


class ControlTokens:
    """The control tokens of a tokenizer."""

    def __init__(self, library: Tokenizer, spellings: Iterable[str], cuts: Iterable[str] = ()) -> None:
        """Compiles the spellings.

        Args:
            library: the complete tokenizer.
            spellings: added tokens. Those of white space remain control tokens in messages.
            cuts: strings that the template may remove from messages, or split them at.
        """
        spellings = set(spellings)
        self.spellings = frozenset(token for token in spellings if token.strip())
        added = library.get_added_tokens_decoder()
        control = {id_: token for id_, token in added.items() if token.content in spellings}
        self.normalized = {id_ for id_, token in control.items() if token.normalized}
        self.ids = frozenset(control)
        normalizer = library.normalizer if self.normalized else None
        # The library splits a text at tokens that are not normalised before it looks for the others.
        relevant = {id_: token for id_, token in added.items() if self.normalized or not token.normalized}
        self._splitter = _Splitter(normalizer, relevant, self.ids)
        visible = {id_: token for id_, token in control.items() if token.content in self.spellings}
        loose = {id_: AddedToken(token.content, normalized=token.normalized) for id_, token in visible.items()}
        self._finder = _Splitter(normalizer, loose, frozenset(loose))
        markers = {place: AddedToken(text, normalized=False) for place, text in enumerate(sorted(cuts))}
        self._cutter = _Splitter(None, markers, frozenset(markers))
        self._heads = {token[:end] for token in self.spellings for end in range(1, len(token))}
        self._tails = {token[start:] for token in self.spellings for start in range(1, len(token))}
        self._longest = max(map(len, self.spellings), default=0)
        self._normalize = normalizer.normalize_str if normalizer else str

    def spans(self, text: str) -> list[Span]:
        """Returns the control tokens that the library finds in a text, in order."""
        return self._splitter.spans(text)

    def decoy(self, value: Any) -> Any:
        """Returns `value` with the spellings changed in every string, at any depth, or None if it holds no spelling.

        A string, or a piece of it between cuts, that begins or ends with a part of a spelling changes there, as the
        template could complete the part.

        Raises:
            ChatError: 400 on `messages` if spellings overlap so often that changes always leave one.
        """
        texts = list(_strings(value))
        if not self._finder.finds(_SEPARATOR.join(texts)) and not any(self._edges(text) for text in texts):
            return None
        return self._changed(value)

    def _changed(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._without_spellings(value, self._edges(value))
        if isinstance(value, dict):
            return {
                self._without_spellings(key, []): item if _is_role(key, item) else self._changed(item)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self._changed(item) for item in value]
        return value

    def _without_spellings(self, text: str, edges: list[int]) -> str:
        spans = self._finder.spans(text)
        for letter in _LETTERS if spans or edges else "":
            chars = list(text)
            for place in [*edges, *(_first_letter(text, span) for span in spans)]:
                chars[place] = letter if chars[place] != letter else _OTHER
            text, edges = "".join(chars), []
            spans = self._finder.spans(text)
            if not spans:
                return text
        if spans:
            raise invalid("messages", "The messages hold too many overlapping control tokens.")
        return text

    def _edges(self, text: str) -> list[int]:
        """Returns the indices at which a part of a spelling begins or ends the text, or a piece between cuts."""
        bounds = [0, *(bound for cut in self._cutter.spans(text) for bound in cut[:2]), len(text)]
        pieces = zip(bounds[::2], bounds[1::2], strict=True)
        return [place for start, end in pieces for place in self._piece_edges(text[start:end], start)]

    def _piece_edges(self, piece: str, start: int) -> list[int]:
        stripped = piece.strip()
        if not stripped:
            return []
        first, last = self._normalize(stripped[: self._longest]), self._normalize(stripped[-self._longest :])
        sizes = range(1, self._longest)
        start, edges = start + piece.index(stripped[0]), []
        if any(first[:size] in self._tails for size in sizes):
            edges.append(start)
        if any(last[-size:] in self._heads for size in sizes):
            edges.append(start + len(stripped) - 1)
        return edges


class _Splitter:
    """Finds added tokens as the library does, in one pass, but leaves the text between them whole."""

    def __init__(
        self, normalizer: normalizers.Normalizer | None, added: dict[int, AddedToken], wanted: frozenset[int]
    ) -> None:
        """Compiles the added tokens, by their ids in the library. `spans` returns those with an id in `wanted`."""
        self._tokenizer = Tokenizer(models.WordLevel({_SEPARATOR: 0}, _SEPARATOR))
        if normalizer is not None:
            self._tokenizer.normalizer = normalizer
        self._tokenizer.add_tokens(list(added.values()))
        self._ids = {self._tokenizer.token_to_id(added[id_].content): id_ for id_ in wanted}

    def finds(self, text: str) -> bool:
        """Returns whether a text holds any of the tokens."""
        found = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0]
        return not self._ids.keys().isdisjoint(found.ids)

    def spans(self, text: str) -> list[Span]:
        """Returns the tokens in order. Releases the GIL while it searches."""
        if not self.finds(text):
            return []  # computing offsets takes several times as long
        found = self._tokenizer.encode_batch([text], add_special_tokens=False)[0]
        pairs = zip(found.ids, found.offsets, strict=True)
        return [Span(start, end, self._ids[id_]) for id_, (start, end) in pairs if id_ in self._ids]


def differs_only_by_decoys(rendered: str, decoy: str, spans: list[Span]) -> bool:
    """Returns whether `decoy` is `rendered` with other letters in place of some characters outside the spans."""
    if len(rendered) != len(decoy):
        return False
    ours, theirs = (np.frombuffer(text.encode("utf-32-le"), np.uint32) for text in (rendered, decoy))
    changed = theirs[ours != theirs]
    letters = np.isin(changed, [ord(letter) for letter in _LETTERS + _OTHER]).all()
    return bool(letters) and all(rendered[span.start : span.end] == decoy[span.start : span.end] for span in spans)


def _first_letter(text: str, span: Span) -> int:
    """Returns the index of the first letter or digit, or else of the first character, of a spelling."""
    return next((i for i in range(span.start, span.end) if text[i].isalnum()), span.start)


def _is_role(key: str, value: Any) -> bool:
    """Returns whether a value is the role of a message, which templates compare and no user writes."""
    return key == "role" and isinstance(value, str) and value in _ROLES


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            if not _is_role(key, item):
                yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
