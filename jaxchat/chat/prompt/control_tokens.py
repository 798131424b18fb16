"""Distinguishes the control tokens that a chat template writes from the same spellings in message text.

The template is always rendered with the true messages. If a message contains the spelling of a control token, the
template is rendered a second time with decoys: the same messages, but with one letter of each such spelling changed.
The control tokens in the second rendering are therefore the template's own. `alignment` finds their places in the first
rendering. All other spellings in the first rendering are text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer, normalizers

from jaxchat.chat.prompt.alignment import DECOY_LETTERS
from jaxchat.chat.prompt.edges import Edges
from jaxchat.chat.prompt.splitter import Span, Splitter
from jaxchat.chat.prompt.text_changes import TextChanges
from jaxchat.errors import invalid

_LETTERS, _OTHER = DECOY_LETTERS[:-1], DECOY_LETTERS[-1]
_ROLES = frozenset(("system", "user", "assistant", "tool"))
_NO_CHANGES = TextChanges()


class ControlTokens:
    """The control tokens of a tokenizer."""

    def __init__(self, library: Tokenizer, spellings: Iterable[str], changes: TextChanges = _NO_CHANGES) -> None:
        """Compiles the spellings.

        Args:
            library: the complete tokenizer.
            spellings: the control tokens. Those that consist of white space remain control tokens in messages.
            changes: what the template may do to the text of messages.
        """
        spellings, self._cuts = set(spellings), changes.cuts
        self.spellings = frozenset(token for token in spellings if token.strip())
        added = library.get_added_tokens_decoder()
        control = {id_: token for id_, token in added.items() if token.content in spellings}
        self.normalized = {id_ for id_, token in control.items() if token.normalized}
        self.ids = frozenset(control)
        normalizer = library.normalizer if self.normalized and not _is_empty(library.normalizer) else None
        # The library splits a text at tokens that are not normalised before it looks for the others.
        relevant = {id_: token for id_, token in added.items() if self.normalized or not token.normalized}
        self._splitter = Splitter(normalizer, relevant, self.ids)
        visible = {id_: token for id_, token in control.items() if token.content in self.spellings}
        if changes.case:  # finds spellings in any case
            normalizer = normalizers.Sequence([*filter(None, [normalizer]), normalizers.Lowercase()])
        loose = {
            id_: AddedToken(token.content, normalized=token.normalized or changes.case)
            for id_, token in visible.items()
        }
        self._finder = Splitter(normalizer, loose, frozenset(loose))
        parts = map(str.lower, self.spellings) if changes.case else self.spellings
        self._edges = Edges(parts, self._cuts, normalizer.normalize_str if normalizer else None)

    def spans(self, text: str) -> list[Span]:
        """Returns the control tokens that the tokenizers library finds in a text, in order."""
        return self._splitter.spans(text)

    def decoy(self, value: Any) -> Any:
        """Returns `value` with a letter changed in every spelling of a control token, or None if nothing must change.

        Also changes a letter where the template could complete a control token. This is where a string begins with the
        last characters of a spelling, or ends with the first characters of a spelling. The same holds for each piece
        into which the template may cut a string, see `TextChanges`.

        Args:
            value: JSON data. Strings at any depth change, except for the roles of messages.

        Raises:
            ChatError: 400 on `messages` if spellings overlap so often that no change removes all of them.
        """
        keys, texts = set[str](), set[str]()
        _collect(value, keys, texts)
        spelled = self._finder.holding(keys | texts)
        edges = {text: found for text in texts if (found := self._edges.of(text))}
        if not spelled and not edges:
            return None
        places = edges | {text: [*edges.get(text, ()), *self._spelled(text)] for text in texts & spelled}
        decoys = {text: self._decoy(text, found) for text, found in places.items()}
        return _replaced(value, {key: self._decoy(key, self._spelled(key)) for key in keys & spelled}, decoys)

    def _spelled(self, text: str) -> list[int]:
        """Returns the index of one character in each spelling of a control token in `text`."""
        return _first_letters(text, self._finder.spans(text), self._cuts)

    def _decoy(self, text: str, places: Iterable[int]) -> str:
        """Returns the text with other letters at `places`.

        If these letters complete another spelling, changes a letter of that spelling too.

        Raises:
            ChatError: every letter completes another spelling.
        """
        for letter in _LETTERS:
            text = _altered(text, places, letter)
            if not self._finder.holding([text]):
                return text
            places = self._spelled(text)
        raise invalid("messages", "The messages hold too many overlapping control tokens.")


def _is_empty(normalizer: normalizers.Normalizer | None) -> bool:
    """Returns whether a normaliser changes nothing. Such a normaliser would still slow down the search."""
    return normalizer is None or (isinstance(normalizer, normalizers.Sequence) and not len(normalizer))


def _altered(text: str, places: Iterable[int], letter: str) -> str:
    chars = list(text)
    for place in places:
        chars[place] = letter if chars[place] != letter else _OTHER
    return "".join(chars)


def _first_letters(text: str, spans: Iterable[Span], cuts: Collection[str]) -> list[int]:
    """Returns the index of one character in each span.

    This is the first letter or digit of the span, or its first visible character if it has neither. If the template may
    cut a part out of the span, characters of this part are skipped, as long as the span has other visible characters. A
    changed part would be cut out of one of the two renderings only.
    """
    offsets: dict[str, int] = {}
    places = []
    for span in spans:
        spelling = text[span.start : span.end]
        if spelling not in offsets:
            offsets[spelling] = _first_letter(spelling, cuts)
        places.append(span.start + offsets[spelling])
    return places


def _first_letter(spelling: str, cuts: Collection[str]) -> int:
    visible = [i for i, char in enumerate(spelling) if not char.isspace()] or [0]
    inside = [cut for cut in cuts if cut in spelling and cut.strip() != spelling.strip()]
    kept = {i for cut in inside for found in re.finditer(re.escape(cut), spelling) for i in range(*found.span())}
    free = [i for i in visible if i not in kept] or visible
    return next((i for i in free if spelling[i].isalnum()), free[0])


def _is_role(key: str, value: Any) -> bool:
    """Returns whether a value is the role of a message, which templates compare and no user writes."""
    return key == "role" and isinstance(value, str) and value in _ROLES


def _collect(value: Any, keys: set[str], texts: set[str]) -> None:
    """Adds the keys of objects in `value` to `keys`, and all other strings except roles to `texts`."""
    if isinstance(value, str):
        texts.add(value)
    elif isinstance(value, dict):
        keys.update(value)
        for key, item in value.items():
            if not _is_role(key, item):
                _collect(item, keys, texts)
    elif isinstance(value, list):
        for item in value:
            _collect(item, keys, texts)


def _replaced(value: Any, keys: Mapping[str, str], texts: Mapping[str, str]) -> Any:
    """Returns `value` with keys of objects replaced by `keys`, and other strings by `texts`. Roles are not replaced."""
    if isinstance(value, str):
        return texts.get(value, value)
    if isinstance(value, dict):
        return {
            keys.get(key, key): item if _is_role(key, item) else _replaced(item, keys, texts)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_replaced(item, keys, texts) for item in value]
    return value
