"""The model's tokenizer: encodes text with control tokens from the template only, and decodes ids to exact bytes."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from jaxchat.chat.prompt.control_tokens import ControlTokens, Span, differs_only_by_decoys
from jaxchat.chat.prompt.decoder import Decoder
from jaxchat.chat.prompt.special_tokens import read_special_tokens, with_added_tokens
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.turn_markers import cut_strings, turn_markers
from jaxchat.errors import ModelError, invalid, safe_repr
from jaxchat.model_directory import read_if_there, read_text

_NOT_TEXT = "The model's chat template cannot show a control token in these messages as text."


class ChatTokenizer:
    """A tokenizer made from a `tokenizer.json`. Thread-safe once `learn_turns` has returned."""

    def __init__(self, source: str, stop_tokens: frozenset[int] = frozenset()) -> None:
        """Parses `source`, the text of a `tokenizer.json`. `stop_tokens` are the ids that end an answer."""
        spec = json.loads(source)
        self._full = Tokenizer.from_str(source)
        self._text = Tokenizer.from_str(source)
        self._text.encode_special_tokens = True
        for library in (self._full, self._text):
            library.no_truncation()
            library.no_padding()
        self._aliases = {normalized: self._add_alias(normalized) for normalized in (False, True)}
        self._added = self._full.get_added_tokens_decoder()
        vocab = self._full.get_vocab(with_added_tokens=True)
        self.size = max(vocab.values()) + 1
        self.stop_tokens = stop_tokens
        self.digest = hashlib.sha256(source.encode()).hexdigest()
        self.special_tokens = {id_: token.content for id_, token in self._added.items() if token.special}
        decoder = Decoder(spec.get("decoder"))
        self.strips_first_space = decoder.strips_first_space
        self._bytes = _byte_table(vocab, self._added, decoder, self.size)
        self._set_control_tokens(set(), set())

    def learn_turns(self, template: ChatTemplate) -> None:
        """Makes control tokens of the added tokens with which a chat template opens and closes turns."""
        ordinary = [token.content for token in self._added.values() if not token.special]
        self._set_control_tokens(turn_markers(template, ordinary), cut_strings(template.source))

    def encode(self, rendered: str, decoy: str | None = None) -> list[int]:
        """Returns the ids of a rendered template.

        Args:
            rendered: the text.
            decoy: the template rendered with the decoys of its messages, if they hold spellings of control tokens.

        Raises:
            ChatError: 400 on `messages` if the two differ in more than the decoys, as control tokens are unknown then.
        """
        if decoy is None:
            ids = self._ids(self._full, rendered)
            written = sum(id_ in self.control_tokens.ids for id_ in ids) if self._broken else 0
            if not self._broken or written == len(self.control_tokens.spans(rendered)):
                return ids
        spans = self.control_tokens.spans(decoy or rendered)
        if decoy is not None and not differs_only_by_decoys(rendered, decoy, spans):
            raise invalid("messages", _NOT_TEXT)
        return self._encode_with_aliases(rendered, spans)

    def count(self, text: str) -> int:
        """Returns the number of tokens of a text."""
        return len(self._ids(self._text, text))

    def bytes_of(self, token: int) -> bytes:
        """Returns a token's bytes, possibly a fragment of a character. Control tokens have none."""
        return self._bytes[token] if token < self.size else b""

    def id_of(self, token: str) -> int | None:
        """Returns the id of a token by its spelling in `tokenizer.json`, or None if it is unknown."""
        return self._full.token_to_id(token)

    def _add_alias(self, normalized: bool) -> tuple[str, int | None]:
        """Adds a token that stands for control tokens, so that the text around it is split and encoded as ever.

        Nobody can guess its spelling, so no message holds it.
        """
        content = f"<|{secrets.token_hex(16)}|>"
        self._text.add_tokens([AddedToken(content, normalized=normalized)])
        return content, self._text.token_to_id(content)

    def _set_control_tokens(self, turns: set[str], cuts: set[str]) -> None:
        ends = {self._added[id_].content for id_ in self.stop_tokens if id_ in self._added}
        self.control_tokens = ControlTokens(self._full, {*self.special_tokens.values(), *ends, *turns}, cuts)
        # `encode_special_tokens` ignores the special ones
        self._text.add_special_tokens(sorted(self.control_tokens.spellings))
        self._broken = dict(self._model_made())

    def _model_made(self) -> Iterator[tuple[int, list[int]]]:
        """Yields the control tokens that the model itself makes of their spelling, with the tokens of its characters.

        A Unigram model, for example, finds each piece of its vocabulary in text, also those that are added tokens.
        """
        for id_ in self.control_tokens.ids:
            content = self._added[id_].content
            if [token.id for token in self._full.model.tokenize(content)] == [id_]:
                yield id_, [token.id for char in content for token in self._full.model.tokenize(char)]

    def _encode_with_aliases(self, rendered: str, spans: list[Span]) -> list[int]:
        parts, end = [], 0
        for span in spans:
            parts += [rendered[end : span.start], self._aliases[span.token in self.control_tokens.normalized][0]]
            end = span.end
        tokens = iter(spans)
        aliases = {id_ for _, id_ in self._aliases.values()}
        ids = self._ids(self._text, "".join([*parts, rendered[end:]]))
        return [part for id_ in ids for part in ([next(tokens).token] if id_ in aliases else self._unmade(id_))]

    def _unmade(self, token: int) -> list[int]:
        return self._broken.get(token, [token])

    def _ids(self, library: Tokenizer, text: str) -> list[int]:
        # Encoding a batch releases the GIL, encoding one text does not.
        return library.encode_batch_fast([text], add_special_tokens=False)[0].ids


def load_tokenizer(directory: Path) -> ChatTokenizer:
    """Reads `tokenizer.json` and the ids that end an answer. Raises ModelError naming the invalid file."""
    path = directory / "tokenizer.json"
    try:
        tokenizer = ChatTokenizer(with_added_tokens(read_text(path), directory))
        tokenizer.stop_tokens = frozenset(_stop_tokens(directory, tokenizer))
        return tokenizer
    except ModelError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception
        raise ModelError(f"{path}: not a usable tokenizer ({error})") from None


def _stop_tokens(directory: Path, tokenizer: ChatTokenizer) -> Iterable[int]:
    """Yields the end-of-turn ids of generation_config.json, or config.json, and the tokenizer's own end token."""
    for file in ("generation_config.json", "config.json"):
        ids = read_if_there(directory / file).get("eos_token_id")
        if ids is not None:
            yield from _checked_ids(directory / file, ids if isinstance(ids, list) else [ids])
            break
    name = read_special_tokens(directory).get("eos_token")
    if name is not None and (id_ := tokenizer.id_of(name)) is not None:
        yield id_


def _checked_ids(path: Path, ids: list[Any]) -> list[int]:
    for id_ in ids:
        if isinstance(id_, bool) or not isinstance(id_, int) or id_ < 0:
            raise ModelError(f"{path}: eos_token_id must be a token id or a list of them, got {safe_repr(id_)}")
    return ids


def _byte_table(vocab: dict[str, int], added: dict[int, AddedToken], decoder: Decoder, size: int) -> list[bytes]:
    table = [b""] * size
    for text, token in vocab.items():
        if token not in added:
            table[token] = decoder.bytes_of(text)
        elif not added[token].special:
            table[token] = decoder.bytes_of_added(text)
    return table
