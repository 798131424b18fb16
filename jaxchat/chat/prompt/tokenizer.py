"""The model's tokenizer. Only the chat template can write control tokens. Ids are decoded to exact bytes."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Tokenizer

from jaxchat.chat.prompt.alignment import template_spans
from jaxchat.chat.prompt.control_tokens import ControlTokens
from jaxchat.chat.prompt.decoder import Decoder
from jaxchat.chat.prompt.encoder import make_encoder
from jaxchat.chat.prompt.special_tokens import read_special_tokens, with_added_tokens
from jaxchat.chat.prompt.splitter import Span
from jaxchat.chat.prompt.text_changes import text_changes
from jaxchat.chat.prompt.turn_markers import turn_markers
from jaxchat.errors import ModelError, invalid, safe_repr
from jaxchat.model_directory import read_if_there, read_text

if TYPE_CHECKING:
    from jaxchat.chat.prompt.template import ChatTemplate

_NOT_TEXT = "The model's chat template cannot show a control token in these messages as text."


class ChatTokenizer:
    """A tokenizer made from a `tokenizer.json`. Thread-safe."""

    def __init__(
        self, source: str, stop_tokens: Iterable[int | str] = (), template: ChatTemplate | None = None
    ) -> None:
        """Parses a tokenizer.

        Args:
            source: the text of a `tokenizer.json`.
            stop_tokens: ids or spellings of the tokens that end an answer. Unknown spellings are ignored.
            template: the model's chat template. Added tokens that the template writes around turns are control tokens.
        """
        spec = json.loads(source)
        self._full = Tokenizer.from_str(source)
        self._full.no_truncation()
        self._full.no_padding()
        self._added = self._full.get_added_tokens_decoder()
        vocab = self._full.get_vocab(with_added_tokens=True)
        self.size = max(vocab.values()) + 1
        stops = (token if isinstance(token, int) else self.id_of(token) for token in stop_tokens)
        self.stop_tokens = frozenset(token for token in stops if token is not None)
        self.digest = hashlib.sha256(f"{source}{sorted(self.stop_tokens)}".encode()).hexdigest()
        self.special_tokens = {id_: token.content for id_, token in self._added.items() if token.special}
        decoder = Decoder(spec.get("decoder"))
        self.strips_first_space = decoder.strips_first_space
        self._bytes = _byte_table(vocab, self._added, decoder, self.size)
        self.control_tokens = self._control_tokens(template)
        aliases = {normalized: _alias(normalized) for normalized in (False, True)}
        self._aliases = {normalized: alias.content for normalized, alias in aliases.items()}
        self._encoder = make_encoder(source, self._full, self.control_tokens.spellings, [*aliases.values()])
        self._broken = dict(self._model_made())

    def encode(self, rendered: str, decoy: str | None = None) -> list[int]:
        """Returns the ids of a rendered template.

        Args:
            rendered: the template rendered with the messages.
            decoy: the template rendered with the result of `ControlTokens.decoy`; None if that result is None.

        Raises:
            ChatError: 400 on `messages` if the two texts differ in more than the letters of decoys, because then text
                and control tokens cannot be told apart.
        """
        if decoy is None:
            ids = self._encoder.ids(rendered)
            written = sum(id_ in self.control_tokens.ids for id_ in ids) if self._broken else 0
            if not self._broken or written == len(self.control_tokens.spans(rendered)):
                return ids
            spans: list[Span] | None = self.control_tokens.spans(rendered)
        else:
            spans = template_spans(rendered, decoy, self.control_tokens.spans(decoy))
        if spans is None:
            raise invalid("messages", _NOT_TEXT)
        return self._encode_with_aliases(rendered, spans)

    def encode_text(self, text: str) -> list[int]:
        """Returns the ids of a text. Spellings of control tokens in it are ordinary text."""
        return self._encode_with_aliases(text, [])

    def encode_raw(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Returns the ids that the tokenizers library gives a text. Spellings of control tokens become control tokens.

        Args:
            text: the text.
            add_special_tokens: whether to add the tokens that the tokenizer puts around a text.
        """
        ids: list[int] = self._full.encode_batch_fast([text], add_special_tokens=add_special_tokens)[0].ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of token ids. Control tokens are written as their spellings."""
        text: str = self._full.decode(ids, skip_special_tokens=False)
        return text

    def count(self, text: str) -> int:
        """Returns the number of ids that `encode_text` returns for a text."""
        return len(self.encode_text(text))

    def bytes_of(self, token: int) -> bytes:
        """Returns the bytes of a token, possibly a part of a character; b"" for a special token or an unknown id."""
        return self._bytes[token] if token < self.size else b""

    def id_of(self, token: str) -> int | None:
        """Returns the id of the token that `tokenizer.json` spells as `token`, or None if the spelling is unknown."""
        return self._full.token_to_id(token)

    def added_id_of(self, token: str) -> int | None:
        """Returns the id of the added token that is spelled as `token`, or None without such an added token."""
        id_ = self.id_of(token)
        return id_ if id_ in self._added else None

    def spelling_of(self, token: int) -> str | None:
        """Returns the spelling of a token in `tokenizer.json`, or None if the id is unknown."""
        return self._full.id_to_token(token)

    def _control_tokens(self, template: ChatTemplate | None) -> ControlTokens:
        spellings = {self._added[id_].content for id_ in self.stop_tokens if id_ in self._added}
        spellings.update(self.special_tokens.values())
        if template is None:
            return ControlTokens(self._full, spellings)
        ordinary = [token.content for token in self._added.values() if not token.special]
        spellings |= turn_markers(template, ordinary)
        return ControlTokens(self._full, spellings, text_changes(template.source))

    def _model_made(self) -> Iterator[tuple[int, list[int]]]:
        """Yields the control tokens that the tokenizer's model would find in ordinary text.

        For each such token, yields a pair: the token's id, and the ids of the characters in the token's spelling. For
        example, a Unigram model finds every piece of its vocabulary, including pieces that are control tokens.
        """
        for id_ in self.control_tokens.ids:
            content = self._added[id_].content
            if [token.id for token in self._full.model.tokenize(content)] == [id_]:
                yield id_, [token.id for char in content for token in self._full.model.tokenize(char)]

    def _encode_with_aliases(self, rendered: str, spans: list[Span]) -> list[int]:
        parts, end = [], 0
        for span in spans:
            parts += [rendered[end : span.start], self._aliases[span.token in self.control_tokens.normalized]]
            end = span.end
        tokens = iter(spans)
        aliases = {self._encoder.alias(spelling) for spelling in self._aliases.values()}
        ids = self._encoder.ids_of_text("".join([*parts, rendered[end:]]))
        if self._broken:
            ids = [part for id_ in ids for part in self._broken.get(id_, (id_,))]
        return [next(tokens).token if id_ in aliases else id_ for id_ in ids]


def load_tokenizer(directory: Path, template: ChatTemplate | None = None) -> ChatTokenizer:
    """Reads `tokenizer.json` and the tokens that end an answer.

    Args:
        directory: the model.
        template: the model's chat template; None for a tokenizer that does not encode prompts.

    Raises:
        ModelError: a file is missing or invalid. The message names the file.
    """
    path = directory / "tokenizer.json"
    try:
        return ChatTokenizer(with_added_tokens(read_text(path), directory), _stop_tokens(directory), template)
    except ModelError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception
        raise ModelError(f"{path}: not a usable tokenizer ({error})") from None


def missing_tokens(tokenizer: ChatTokenizer, template: ChatTemplate, vocab: int) -> dict[int, str]:
    """Returns the spellings, by id, of tokens that may occur although the model's embedding has no row for them.

    A fine-tuned model has such tokens if tokens were added but its embedding was not enlarged. The result does not
    contain control tokens that cannot occur because the template does not write them, such as the image token of Gemma
    3 1B.

    Args:
        tokenizer: the model's tokenizer.
        template: the model's chat template.
        vocab: number of rows of the embedding.
    """
    spellings = {id_: tokenizer.spelling_of(id_) or "" for id_ in range(vocab, tokenizer.size)}
    unused = tokenizer.control_tokens.ids - tokenizer.stop_tokens
    return {id_: text for id_, text in spellings.items() if text and (id_ not in unused or text in template.source)}


def _stop_tokens(directory: Path) -> Iterator[int | str]:
    """Yields each `eos_token_id` of generation_config.json and config.json, and the tokenizer's `eos_token`.

    One of these sources may lack a token that another source has. An answer therefore ends at any of the tokens.
    """
    for file in ("generation_config.json", "config.json"):
        config = read_if_there(directory / file)
        for part in (config, config.get("text_config")):
            ids = part.get("eos_token_id") if isinstance(part, dict) else None
            if ids is not None:
                yield from _checked_ids(directory / file, ids if isinstance(ids, list) else [ids])
    name = read_special_tokens(directory).get("eos_token")
    if name is not None:
        yield name


def _checked_ids(path: Path, ids: list[Any]) -> list[int]:
    for id_ in ids:
        if isinstance(id_, bool) or not isinstance(id_, int) or id_ < 0:
            raise ModelError(f"{path}: eos_token_id must be a token id or a list of them, got {safe_repr(id_)}")
    return ids


def _alias(normalized: bool) -> AddedToken:
    """Returns a token that is written in place of control tokens.

    The text around it is split and encoded like the text around a control token. Its spelling is random, so that
    messages cannot contain it.
    """
    return AddedToken(f"<|{secrets.token_hex(16)}|>", normalized=normalized)


def _byte_table(vocab: dict[str, int], added: dict[int, AddedToken], decoder: Decoder, size: int) -> list[bytes]:
    table = [b""] * size
    for text, token in vocab.items():
        if token not in added:
            table[token] = decoder.bytes_of(text)
        elif not added[token].special:
            table[token] = decoder.bytes_of_added(text)
    return table
