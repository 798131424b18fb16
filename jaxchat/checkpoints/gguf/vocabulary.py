"""The tokens of a GGUF file: their spellings, kinds and scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from tokenizers import AddedToken

from jaxchat.checkpoints.gguf.metadata import Metadata

TOKENS, KINDS, SCORES, MERGES = (f"tokenizer.ggml.{name}" for name in ("tokens", "token_type", "scores", "merges"))
_NAMED = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
_STOPS = ("eos", "eot", "eom")  # end of text, of a turn, and of a message that a tool answers
_ENDS = frozenset(
    {
        *("<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>"),
        *("<|return|>", "<|call|>"),
    }
)
"""Spellings of control tokens that end an answer. Many files name only one of them by its id."""
_HARMONY = frozenset({"<|return|>", "<|call|>"})  # with these, <|end|> ends only a part of an answer


class Kind(IntEnum):
    """The kinds of tokens, as GGUF numbers them."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a vocabulary, by id.

    Attributes:
        tokens: spelling of each token.
        kinds: kind of each token, a number of `Kind`, i32 `[tokens]`.
        scores: score of each token, f32 `[tokens]`; None if the file has none.
    """

    tokens: list[str]
    kinds: np.ndarray  # i32 [tokens], of `Kind`
    scores: np.ndarray | None  # f32 [tokens]

    def ids(self, *kinds: Kind) -> np.ndarray:
        """Returns the ids of all tokens whose kind is one of `kinds`, i64 `[ids]`, sorted."""
        return np.flatnonzero(np.isin(self.kinds, kinds))

    def with_spaces(self, mark: str) -> Vocabulary:
        """Returns the vocabulary with `mark` in place of each space in tokens of the kind `USER_DEFINED`."""
        tokens = [*self.tokens]
        for id_ in self.ids(Kind.USER_DEFINED):
            tokens[id_] = tokens[id_].replace(" ", mark)
        return replace(self, tokens=tokens)

    def added(self, *, keep_space_after: frozenset[str] | None = None) -> list[tuple[int, AddedToken]]:
        """Returns the tokens that are found in text before it is split, with their ids.

        Args:
            keep_space_after: the special tokens after which a space is kept. All other special tokens absorb the space
                that follows. None: no token absorbs a space.
        """
        ids = self.ids(Kind.UNKNOWN, Kind.CONTROL, Kind.USER_DEFINED)
        return [(int(id_), self._added(int(id_), keep_space_after)) for id_ in ids]

    def _added(self, id_: int, keep_space_after: frozenset[str] | None) -> AddedToken:
        text, special = self.tokens[id_], self.kinds[id_] != Kind.USER_DEFINED
        strips = bool(special) and keep_space_after is not None and text not in keep_space_after
        return AddedToken(text, special=bool(special), normalized=False, rstrip=strips)


def read_vocabulary(metadata: Metadata) -> Vocabulary:
    """Reads the tokens of a file. Raises ModelError if they are missing, damaged or occur twice."""
    tokens = metadata.words(TOKENS)
    if not tokens:
        raise metadata.error(TOKENS, "must be a list of strings that is not empty")
    kinds, scores = metadata.numbers(KINDS), metadata.numbers(SCORES, "iuf")
    for key, values in ((KINDS, kinds), (SCORES, scores)):
        if values is not None and len(values) != len(tokens):
            raise metadata.error(key, f"must have an entry for each of {len(tokens)} tokens")
    if kinds is None:
        kinds = np.full(len(tokens), Kind.NORMAL, np.int32)
    used = len(tokens) - _unused_at_the_end(kinds)  # these only pad the embedding
    if len(set(tokens[:used])) != used:
        repeated = next(_repeated(tokens[:used]))
        raise metadata.error(TOKENS, f"must not hold token {repeated!r} twice")
    return Vocabulary(tokens[:used], kinds[:used], None if scores is None else scores[:used])


def named_ids(metadata: Metadata, vocabulary: Vocabulary) -> dict[str, int]:
    """Returns the ids of tokens with a role, by the names of the roles in `tokenizer_config.json`, such as "eos_token".

    Ignores a padding token that is not in the vocabulary. Many fine-tunes name such a token, and the server never pads.

    Args:
        metadata: the metadata of the file.
        vocabulary: its tokens.

    Raises:
        ModelError: a token with another role is not in the vocabulary.
    """
    ids = {name: _id(metadata, key, vocabulary) for key, name in _NAMED.items()}
    return {name: id_ for name, id_ in ids.items() if id_ is not None}


def stop_ids(metadata: Metadata, vocabulary: Vocabulary) -> list[int]:
    """Returns the sorted ids of the tokens that end an answer.

    These are the tokens that the file names, and tokens with known spellings. Some files do not name all stop tokens,
    such as those of Phi 3 and early files of Llama 3: a GGUF file lacks the list in `generation_config.json`.

    Args:
        metadata: the metadata of the file.
        vocabulary: its tokens.

    Raises:
        ModelError: a named token is not in the vocabulary.
    """
    named = {id_ for key in _STOPS if (id_ := _id(metadata, key, vocabulary)) is not None}
    control = {vocabulary.tokens[id_]: int(id_) for id_ in vocabulary.ids(Kind.CONTROL, Kind.USER_DEFINED)}
    ends = _ENDS - {"<|end|>"} if control.keys() >= _HARMONY else _ENDS
    return sorted(named | {id_ for text, id_ in control.items() if text in ends})


def _id(metadata: Metadata, name: str, vocabulary: Vocabulary) -> int | None:
    key = f"tokenizer.ggml.{name}_token_id"
    if not metadata.has(key):
        return None
    id_ = metadata.integer(key)
    if id_ == 2**32 - 1:  # how some files say that there is none
        return None
    if id_ >= len(vocabulary.tokens):
        if name == "padding":
            return None
        raise metadata.error(key, f"must be below the number of tokens, {len(vocabulary.tokens)}")
    return id_


def _unused_at_the_end(kinds: np.ndarray) -> int:
    others = np.flatnonzero(kinds != Kind.UNUSED)
    return len(kinds) - 1 - int(others[-1]) if len(others) else 0


def _repeated(tokens: list[str]) -> Iterator[str]:
    seen: set[str] = set()
    for token in tokens:
        if token in seen:
            yield token
        seen.add(token)
