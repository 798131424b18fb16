"""Makes a `tokenizer.json` from the vocabulary of a GGUF file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from jaxchat.checkpoints.gguf.metadata import Metadata
from jaxchat.checkpoints.gguf.pre_tokenizers import LLAMA_3, PRE_TOKENIZERS, TEKKEN
from jaxchat.checkpoints.gguf.vocabulary import MERGES, SCORES, Kind, Vocabulary, named_ids, read_vocabulary
from jaxchat.errors import ModelError

MODEL, PRE = "tokenizer.ggml.model", "tokenizer.ggml.pre"
_SPACE_PREFIX = "tokenizer.ggml.add_space_prefix"
_ADD_BEGINNING, _ADD_END = "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token"
_SPACE = "\u2581"  # how SentencePiece writes a space
_KEEP_SPACE = {"phi3": frozenset({"<unk>", "<s>", "<|endoftext|>"})}
"""By architecture, the special tokens that keep the space after them. All other special tokens absorb that space."""


def make_tokenizer(path: Path, metadata: Metadata, architecture: str) -> str:
    """Returns the text of a `tokenizer.json`.

    Args:
        path: the file, for errors.
        metadata: the metadata of the file.
        architecture: the name in `general.architecture`.

    Raises:
        ModelError: the kind of vocabulary or its pre-tokenizer is not supported, or the vocabulary is damaged.
    """
    kind = metadata.word(MODEL)
    if kind not in _MAKERS:
        raise metadata.error(MODEL, f"is not supported; supported: {', '.join(_MAKERS)}")
    vocabulary = read_vocabulary(metadata)
    try:
        tokenizer = _MAKERS[kind](metadata, vocabulary, architecture)
        _add_ends(tokenizer, metadata, vocabulary)
        return tokenizer.to_str()
    except ModelError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception
        raise ModelError(f"{path}: the vocabulary is not usable ({error})") from None


def _add_ends(tokenizer: Tokenizer, metadata: Metadata, vocabulary: Vocabulary) -> None:
    """Makes the tokenizer put the BOS and EOS tokens around each text as the file demands.

    If the file does not say whether to add a token, llama.cpp's default applies.
    """
    pre = PRE_TOKENIZERS.get(metadata.word(PRE, "default")) if metadata.word(MODEL) == "gpt2" else None
    begins = metadata.flag(_ADD_BEGINNING, pre is None or pre is LLAMA_3 or pre is TEKKEN)
    wanted = {"bos_token": begins, "eos_token": metadata.flag(_ADD_END, False)}
    ids = named_ids(metadata, vocabulary)
    added = {name: ids[name] for name, adds in wanted.items() if adds and name in ids}
    if added:
        parts = [name for name in ("bos_token", "$A", "eos_token") if name in added or name == "$A"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=" ".join(parts), special_tokens=[*added.items()]
        )


def _byte_level(metadata: Metadata, vocabulary: Vocabulary, architecture: str) -> Tokenizer:
    """Returns a tokenizer that merges pairs of bytes in the order that the file lists.

    Raises:
        ModelError: the pre-tokenizer is not supported, or the merges are missing or damaged.
    """
    name = metadata.word(PRE, "default")
    if name not in PRE_TOKENIZERS:
        raise metadata.error(PRE, f"is not supported; supported: {', '.join(PRE_TOKENIZERS.names())}")
    pre = PRE_TOKENIZERS.get(name)
    merges = [_pair(metadata, merge) for merge in metadata.words(MERGES)]
    if not merges:
        raise metadata.error(MERGES, "must be a list of strings that is not empty")
    added = vocabulary.added()
    vocab = _vocab_without(vocabulary, [id_ for id_, _ in added])
    tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=pre.whole_words))
    if normalizer := pre.normalizer():
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre.pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([token for _, token in added])
    return tokenizer


def _pair(metadata: Metadata, merge: str) -> tuple[str, str]:
    first, _, second = merge.partition(" ")
    if not first or not second:
        raise metadata.error(MERGES, f"must hold pairs of tokens, but one entry is {merge!r}")
    return first, second


def _vocab_without(vocabulary: Vocabulary, added: list[int]) -> dict[str, int]:
    """Returns the id of each token by its spelling, without the added tokens if they are the last tokens of the file.

    The `tokenizers` library itself gives omitted tokens the next ids. For the last tokens of the file, these are the
    ids in the file.

    Args:
        vocabulary: the tokens of the file.
        added: the ids of the added tokens in the file.
    """
    count = len(vocabulary.tokens) - len(added)
    tokens = vocabulary.tokens[:count] if added == list(range(count, len(vocabulary.tokens))) else vocabulary.tokens
    return {token: id_ for id_, token in enumerate(tokens)}


def _sentence_piece(metadata: Metadata, vocabulary: Vocabulary, architecture: str) -> Tokenizer:
    """Returns a tokenizer that first merges the pair whose result has the best score.

    Characters that are not in the vocabulary become bytes. Raises ModelError if the file has no scores.
    """
    vocabulary = vocabulary.with_spaces(_SPACE)
    vocab = {token: id_ for id_, token in enumerate(vocabulary.tokens)}
    merges = _merges(metadata, vocabulary, vocab)
    unknown_token = next((vocabulary.tokens[id_] for id_ in vocabulary.ids(Kind.UNKNOWN)), None)
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token=unknown_token, fuse_unk=True, byte_fallback=True))
    replaced = normalizers.Replace(" ", _SPACE)
    strip = []
    if metadata.flag(_SPACE_PREFIX, True):
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), replaced])
        strip = [decoders.Strip(" ", 1, 0)]
    else:
        tokenizer.normalizer = replaced
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    fallback = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*fallback, *strip])
    added = vocabulary.added(keep_space_after=_KEEP_SPACE.get(architecture))
    tokenizer.add_tokens([token for _, token in added])
    return tokenizer


def _merges(metadata: Metadata, vocabulary: Vocabulary, vocab: dict[str, int]) -> list[tuple[str, str]]:
    """Returns the splits of tokens into two tokens, in the order in which pairs are merged.

    First come the splits of all tokens of the kind `USER_DEFINED`, sorted by the length of their left parts, longest
    first. Such tokens are often runs of spaces. In a long run of spaces, the part that is already merged at the left
    then grows by one space after another. Last come the splits of tokens of the kind `NORMAL`, by descending score of
    the token, as in SentencePiece.

    Raises:
        ModelError: the file has no scores.
    """
    if vocabulary.scores is None:
        raise metadata.error(SCORES, "must be an array of numbers")
    defined = [pair for id_ in vocabulary.ids(Kind.USER_DEFINED) for pair in _splits(vocabulary.tokens[id_], vocab)]
    merges = sorted(defined, key=lambda pair: (-len(pair[0]), -len(pair[1])))
    normal = vocabulary.ids(Kind.NORMAL)
    for id_ in normal[np.argsort(-vocabulary.scores[normal].astype(np.float64), kind="stable")]:
        pairs = _splits(vocabulary.tokens[id_], vocab)
        merges += sorted(pairs, key=lambda pair: (vocab[pair[0]], vocab[pair[1]])) if len(pairs) > 1 else pairs
    return merges


def _splits(token: str, vocab: dict[str, int]) -> list[tuple[str, str]]:
    pairs = ((token[:at], token[at:]) for at in range(1, len(token)))
    return [pair for pair in pairs if pair[0] in vocab and pair[1] in vocab]


_MAKERS: dict[str, Callable[[Metadata, Vocabulary, str], Tokenizer]] = {
    "gpt2": _byte_level,
    "llama": _sentence_piece,
}
