"""Encodes text with the fastest library that gives the ids of the `tokenizers` library.

`fastokens` takes a tenth to a fiftieth of the time of `tokenizers`, but supports fewer kinds of tokenizers and fewer
platforms. If `fastokens` does not give the same ids for a tokenizer, `tokenizers` is used.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Sequence
from typing import Any, Protocol

from tokenizers import AddedToken, Tokenizer

logger = logging.getLogger(__name__)
SAMPLES = (
    "Hello, world! It's 3.14159 o'clock, isn't it?  \t\r\n\n    def f(x):\n        return x ** 2  # \u00e7a va\n",
    "Gr\u00fc\u00dfe aus K\u00f6ln; e\u0301 a\u0308 \u1e9b\u0323 \ufb01 \u212b \u00b2 I\u0307 \u03a3\u03c2 \u01c5",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3002\uff21\uff22\uff11\uff12 \uff76\uff9e \ud55c\uad6d\uc5b4",
    "\u1112\u1161\u11ab \u4e2d\u6587\uff0c\u6807\u70b9\uff01 \u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0417\u0434\u0440\u0430\u0432\u0441",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2764\ufe0f \u00a0\u2003\u3000\u200b\ufeff\u2028",
    "\x00\x7f\u0085 \ue000 \U000f0000 \u2581a\u2581\u2581b \ufffd",
    "DON'T don't DoN'T we\u2019ll 1234567890 12 345 6,789.00 $%^&*()_+{}|:<>?~`[]\\;',./ https://a.b/c?d=e&f#g   ",
    "aaaaaaaaaaaaaaaaaaaa                                        ....................\n\n\n\n\n\n\n\n\t\t\t\t\t",
)
"""Texts that `fastokens` and `tokenizers` must encode alike."""


class Encoder(Protocol):
    """A converter of text to token ids.

    An alias is an added token with a random spelling. It is written in place of a control token, into a text whose
    other parts must not become control tokens. The caller replaces the id of the alias by the id of the control token.
    """

    def ids(self, text: str) -> list[int]:
        """Returns the ids of a text. Spellings of control tokens in it are control tokens."""

    def ids_of_text(self, text: str) -> list[int]:
        """Returns the ids of a text.

        Encodes spellings of control tokens as ordinary text. Encodes an alias as one token.
        """

    def alias(self, spelling: str) -> int:
        """Returns the id of an alias.

        Args:
            spelling: the spelling of one of the encoder's aliases.

        Raises:
            AssertionError: `LibraryEncoder` knows no token with this spelling.
            KeyError: `FastEncoder` has no alias with this spelling.
        """


def make_encoder(source: str, library: Tokenizer, control: Collection[str], aliases: Sequence[AddedToken]) -> Encoder:
    """Returns the fastest encoder that gives the ids of the `tokenizers` library.

    Args:
        source: the text of a `tokenizer.json`.
        library: the tokenizer made from `source`, without truncation and padding.
        control: spellings of the control tokens.
        aliases: the tokens that serve as aliases, see `Encoder`.
    """
    fast = _fast(source, library, control, aliases)
    return fast or LibraryEncoder(source, library, control, aliases)


class LibraryEncoder:
    """An encoder that uses the `tokenizers` library.

    Args:
        source: the text of a `tokenizer.json`.
        library: the tokenizer made from `source`, without truncation and padding.
        control: spellings of the control tokens.
        aliases: the tokens that serve as aliases, see `Encoder`.
    """

    def __init__(
        self, source: str, library: Tokenizer, control: Collection[str], aliases: Sequence[AddedToken]
    ) -> None:
        self._full, self._text = library, Tokenizer.from_str(source)
        self._text.no_truncation()
        self._text.no_padding()
        self._text.encode_special_tokens = True
        for alias in aliases:
            self._text.add_tokens([alias])
        self._text.add_special_tokens(sorted(control))  # `encode_special_tokens` ignores the special ones

    def ids(self, text: str) -> list[int]:
        return _batch(self._full, text)

    def ids_of_text(self, text: str) -> list[int]:
        return _batch(self._text, text)

    def alias(self, spelling: str) -> int:
        id_ = self._text.token_to_id(spelling)
        assert id_ is not None, "aliases are added"
        return id_


class FastEncoder:
    """An encoder that uses the `fastokens` library.

    Args:
        source: the text of a `tokenizer.json`.
        library: the tokenizer made from `source`, without truncation and padding.
        control: spellings of the control tokens.
        aliases: the tokens that serve as aliases, see `Encoder`.

    Raises:
        ImportError: the `fastokens` library is not installed.
        ValueError: `fastokens` does not support the tokenizer.
    """

    def __init__(
        self, source: str, library: Tokenizer, control: Collection[str], aliases: Sequence[AddedToken]
    ) -> None:
        import fastokens

        first = max(library.get_vocab(with_added_tokens=True).values()) + 1
        self._aliases = {alias.content: first + place for place, alias in enumerate(aliases)}
        kind = type(library.model).__name__
        self._library = fastokens.Tokenizer.from_json_str(_prepared(source, kind, control, aliases, self._aliases))
        self._library.no_truncation()
        self._library.no_padding()

    def ids(self, text: str) -> list[int]:
        return self._library.encode(text).ids

    def ids_of_text(self, text: str) -> list[int]:
        return self._library.encode(text, split_special_tokens=True).ids

    def alias(self, spelling: str) -> int:
        return self._aliases[spelling]


def _prepared(
    source: str, kind: str, control: Collection[str], aliases: Sequence[AddedToken], ids: dict[str, int]
) -> str:
    """Returns a `tokenizer.json` with aliases added, in which control tokens are special.

    `ids_of_text` splits the spellings of special tokens like ordinary text, but keeps aliases. That a token is special
    has no other effect.

    Args:
        source: the text of a `tokenizer.json`.
        kind: type of the model. Old files do not contain it.
        control: spellings of the control tokens.
        aliases: the tokens that serve as aliases, see `Encoder`.
        ids: ids of the aliases by spelling.
    """
    spec: dict[str, Any] = json.loads(source)
    added = [
        {**token, "special": token.get("special", False) or token["content"] in control}
        for token in spec.get("added_tokens") or []
    ]
    for alias in aliases:
        flags = {name: getattr(alias, name) for name in ("single_word", "lstrip", "rstrip", "normalized")}
        added.append({"id": ids[alias.content], "content": alias.content, "special": False, **flags})
    return json.dumps({**spec, "model": {"type": kind, **spec["model"]}, "added_tokens": added})


def _fast(
    source: str, library: Tokenizer, control: Collection[str], aliases: Sequence[AddedToken]
) -> FastEncoder | None:
    """Returns a `FastEncoder`, or None if it cannot be used.

    It cannot be used if `fastokens` is missing, does not support the tokenizer, or gives other ids than `tokenizers`.
    """
    try:
        encoder = FastEncoder(source, library, control, aliases)
    except (ImportError, ValueError) as error:
        logger.debug("texts are encoded by the tokenizers library: %s", error)
        return None
    spelled = [f"a {spelling}b{spelling} c" for spelling in control]
    same = all(encoder.ids(text) == _batch(library, text) for text in (*SAMPLES, *spelled))
    marks = {library.token_to_id(spelling) for spelling in control}
    as_text = all(marks.isdisjoint(encoder.ids_of_text(text)) for text in spelled)
    alone = all(encoder.ids_of_text(alias.content) == [encoder.alias(alias.content)] for alias in aliases)
    if same and as_text and alone:
        return encoder
    logger.debug("texts are encoded by the tokenizers library, because the ids of the other one differ")
    return None


def _batch(library: Tokenizer, text: str) -> list[int]:
    # Encoding a batch releases the GIL, encoding one text does not.
    ids: list[int] = library.encode_batch_fast([text], add_special_tokens=False)[0].ids
    return ids
