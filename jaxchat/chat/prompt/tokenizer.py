"""The model's tokenizer: encodes text with control tokens from the template only, and decodes ids to exact bytes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from jaxchat.chat.prompt.control_tokens import ControlTokens
from jaxchat.chat.prompt.special_tokens import read_special_tokens, with_added_tokens
from jaxchat.errors import ModelError, safe_repr
from jaxchat.model_directory import read_if_there, read_text

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


class ChatTokenizer:
    """A tokenizer made from a `tokenizer.json`. Thread-safe."""

    def __init__(self, source: str, stop_tokens: frozenset[int] = frozenset()) -> None:
        """Parses `source`, the text of a `tokenizer.json`. `stop_tokens` are the ids that end an answer."""
        spec = json.loads(source)
        self._full = Tokenizer.from_str(source)
        self._plain = Tokenizer.from_str(json.dumps({**spec, "added_tokens": [], "post_processor": None}))
        added = {token["content"]: token for token in spec.get("added_tokens", [])}
        self._added_ids = {content: token["id"] for content, token in added.items()}
        self._control = _control_pattern(added)
        normalizer = self._full.normalizer
        self.control_tokens = ControlTokens(added, normalizer.normalize_str if normalizer else None)
        self._forbidden = {self._added_ids[token] for token in self.control_tokens.tokens}
        vocab = self._full.get_vocab(with_added_tokens=True)
        self.size = max(vocab.values()) + 1
        self.stop_tokens = stop_tokens
        self.digest = hashlib.sha256(source.encode()).hexdigest()
        decoder = json.dumps(spec.get("decoder"))
        self.strips_first_space = '"Strip"' in decoder or '"Metaspace"' in decoder
        self.special_tokens = {token["id"]: name for name, token in added.items() if token.get("special")}
        self._bytes = _byte_table(vocab, added, byte_level='"ByteLevel"' in decoder, size=self.size)

    def encode(self, rendered: str, joiner: str) -> list[int]:
        """Returns the ids of a rendered template. Spellings that contain the joiner stay ordinary text."""
        if joiner not in rendered:
            return self._full.encode(rendered, add_special_tokens=False).ids
        ids: list[int] = []
        end = 0
        for match in self._control.finditer(rendered):
            ids += self._encode_text(rendered[end : match.start()].replace(joiner, ""))
            ids.append(self._added_ids[next(group for group in match.groups() if group)])
            end = match.end()
        return ids + self._encode_text(rendered[end:].replace(joiner, ""))

    def count(self, text: str) -> int:
        """Returns the number of tokens of a text."""
        return len(self._plain.encode(text, add_special_tokens=False).ids)

    def bytes_of(self, token: int) -> bytes:
        """Returns a token's bytes, possibly a fragment of a character. Control tokens have none."""
        return self._bytes[token] if token < self.size else b""

    def id_of(self, token: str) -> int | None:
        """Returns the id of a token by its spelling in `tokenizer.json`, or None if it is unknown."""
        return self._full.token_to_id(token)

    def _encode_text(self, text: str) -> list[int]:
        ids = self._plain.encode(text, add_special_tokens=False).ids
        if self._forbidden.isdisjoint(ids):
            return ids
        return [id_ for char in text for id_ in self._plain.encode(char, add_special_tokens=False).ids]


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


def _control_pattern(added: dict[str, dict[str, Any]]) -> re.Pattern[str]:
    def spelling(content: str) -> str:
        token = added[content]
        left, right = r"\s*" * bool(token.get("lstrip")), r"\s*" * bool(token.get("rstrip"))
        return f"{left}({re.escape(content)}){right}"

    return re.compile("|".join(map(spelling, sorted(added, key=len, reverse=True))) or r"(?!)")


def _byte_table(vocab: dict[str, int], added: dict[str, dict[str, Any]], *, byte_level: bool, size: int) -> list[bytes]:
    table = [b""] * size
    alphabet = _byte_alphabet()
    for text, token in vocab.items():
        if text in added:
            table[token] = b"" if added[text].get("special") else text.encode()
        elif byte_level:
            table[token] = b"".join(alphabet.get(char, char.encode()) for char in text)
        elif match := _BYTE_TOKEN.fullmatch(text):
            table[token] = bytes([int(match[1], 16)])
        else:
            table[token] = text.replace("\u2581", " ").encode()
    return table


def _byte_alphabet() -> dict[str, bytes]:
    """Returns GPT-2's printable character for each byte: Latin-1 itself if printable, or one from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): bytes([byte]) for byte in printable}
    return table | {chr(0x100 + index): bytes([byte]) for index, byte in enumerate(others)}
