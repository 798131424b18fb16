"""Vocabularies of GGUF files give the ids of the `tokenizer.json` that they were made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import TokenType
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from jaxchat.checkpoints.gguf.metadata import Metadata
from jaxchat.checkpoints.gguf.pre_tokenizers import PRE_TOKENIZERS
from jaxchat.checkpoints.gguf.tokenizer import make_tokenizer
from jaxchat.checkpoints.gguf.vocabulary import named_ids, read_vocabulary, stop_ids
from jaxchat.errors import ModelError

TEXTS = [
    "def f(x):\n    return x**2  # Größe\n\n\tif x:\n\t\tpass",
    "Der schnelle Fuchs springt über 12.345,67 € und  drei   Hunde.",
    "Le cœur déçu mais l'âme naïve, I'll say THEY'RE here. we've can't",
    "今天天气很好，我们去公园散步吧！1234567 日本語のカタカナ",
    "Привет, как дела? Это тест №42. 한국어 텍스트 नमस्ते दुनिया",
    "e\u0301 ﬁ \u212b 👩‍👩‍👧 \r\n\r\n  \n x_y-z <a href='b'>/* c */</a>",
    " leading", "trailing  ", "", " ", "camelCaseWord HTMLParser2 iPhone",
]  # fmt: skip
CORPUS = TEXTS * 3 + ["the quick brown fox jumps over the lazy dog, that was the thing"] * 4
SPECIAL, DEFINED = ["<|endoftext|>", "<|im_end|>"], ["<tool_call>"]
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = [
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
]
PUBLISHED: dict[str, tuple[list[str], bool]] = {  # patterns of published files, and whether they normalise to NFC
    "llama-bpe": ([CL100K], False),
    "dbrx": ([CL100K], False),
    "qwen2": ([CL100K.replace("{1,3}", "")], True),
    "gpt-4o": ([O200K], False),
    "deepseek-v3": (DEEPSEEK, False),
}
DIGITS = {"gpt-2": (False, False), "smollm": (True, False), "command-r": (True, True)}


def trained(steps: list[Any], *, composed: bool = False) -> Tokenizer:
    """A byte-level tokenizer with special and ordinary added tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    if composed:
        tokenizer.normalizer = normalizers.NFC()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in DEFINED])
    return tokenizer


def metadata(tokenizer: Tokenizer, **changes: Any) -> Metadata:
    """What the conversion of llama.cpp writes for a byte-level tokenizer, with some padding."""
    spec, size = json.loads(tokenizer.to_str()), tokenizer.get_vocab_size()
    added = {token["id"]: token["special"] for token in spec["added_tokens"]}
    kinds = [
        TokenType.NORMAL if i not in added else TokenType.CONTROL if added[i] else TokenType.USER_DEFINED
        for i in range(size)
    ]
    values = {
        "model": "gpt2",
        "tokens": [*(tokenizer.id_to_token(id_) for id_ in range(size)), "[PAD0]", "[PAD1]"],
        "token_type": np.array([*kinds, TokenType.UNUSED, TokenType.UNUSED], np.int32),
        "merges": [" ".join(merge) for merge in spec["model"]["merges"]],
        "eos_token_id": size - 3,
        **changes,
    }
    return of(values)


def of(values: dict[str, Any]) -> Metadata:
    return Metadata(
        Path("a.gguf"), {f"tokenizer.ggml.{key}": value for key, value in values.items() if value is not None}
    )


def made(found: Metadata, architecture: str = "llama") -> Tokenizer:
    return Tokenizer.from_str(make_tokenizer(Path("a.gguf"), found, architecture))


def assert_same(actual: Tokenizer, expected: Tokenizer) -> None:
    mixed = [f"{text}{token} {text}" for text in TEXTS for token in SPECIAL + DEFINED]
    for text in TEXTS + mixed:
        ids = expected.encode(text, add_special_tokens=False).ids
        assert actual.encode(text, add_special_tokens=False).ids == ids, text
        assert actual.decode(ids, skip_special_tokens=False) == expected.decode(ids, skip_special_tokens=False)
    assert actual.get_vocab_size() == expected.get_vocab_size()


@pytest.mark.parametrize("name", PUBLISHED)
def test_byte_level_vocabularies_split_as_published(name: str) -> None:
    patterns, composed = PUBLISHED[name]
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    expected = trained([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)], composed=composed)
    assert_same(made(metadata(expected, pre=name)), expected)


@pytest.mark.parametrize("name", DIGITS)
def test_vocabularies_that_split_as_gpt_2(name: str) -> None:
    digits, composed = DIGITS[name]
    first = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    expected = trained([*first, pre_tokenizers.ByteLevel(add_prefix_space=False)], composed=composed)
    assert_same(made(metadata(expected, pre=name)), expected)


def test_every_pre_tokenizer_builds() -> None:
    tokenizer = trained([pre_tokenizers.ByteLevel(add_prefix_space=False)])
    for name in PRE_TOKENIZERS:
        ids = made(metadata(tokenizer, pre=name)).encode("Hello, 世界 12\n").ids
        assert tokenizer.decode(ids) == "Hello, 世界 12\n"


def test_added_tokens_between_others_keep_their_ids() -> None:
    """Some models store control tokens first, as Mistral does."""
    tokens = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "he"]
    kinds = np.array([TokenType.CONTROL] * 2 + [TokenType.NORMAL] * 257, np.int32)
    values = {"model": "gpt2", "pre": "gpt-2", "tokens": tokens, "token_type": kinds, "merges": ["h e"]}
    tokenizer = made(of(values))
    assert tokenizer.encode("</s>he<s>").ids == [1, 258, 0]
    assert tokenizer.get_added_tokens_decoder()[1].special


def sentence_piece(prefix: bool) -> tuple[Tokenizer, dict[str, Any]]:
    """A tokenizer as `transformers` makes from a model of SentencePiece, and the metadata of the latter."""
    trainer = Tokenizer(models.BPE())
    steps = [normalizers.Prepend("▁")] if prefix else []
    trainer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    corpus = [text.replace("\n", " ") for text in CORPUS]
    trainer.train_from_iterator(
        corpus, trainers.BpeTrainer(vocab_size=500, show_progress=False, special_tokens=["<unk>"])
    )
    spec = json.loads(trainer.to_str())["model"]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    normal = [token for token in sorted(spec["vocab"], key=spec["vocab"].__getitem__) if token != "<unk>"]
    runs = ["▁" * count for count in range(4, 1, -1) if "▁" * count not in normal]
    tokens = ["<unk>", "<s>", "</s>", *bytes_, *runs, *normal]
    ids = {token: id_ for id_, token in enumerate(tokens)}
    merges = [tuple(merge) for merge in spec["merges"]]
    scores = {left + right: -float(rank) for rank, (left, right) in reversed(list(enumerate(merges)))}
    counts = [
        (TokenType.UNKNOWN, 1),
        (TokenType.CONTROL, 2),
        (TokenType.BYTE, 256),
        (TokenType.USER_DEFINED, len(runs)),
    ]
    kinds = [kind for kind, count in [*counts, (TokenType.NORMAL, len(normal))] for _ in range(count)]
    run_merges = sorted(
        ((run[:at], run[at:]) for run in runs for at in range(1, len(run))),
        key=lambda pair: (-len(pair[0]), -len(pair[1])),
    )
    every = [
        (token[:at], token[at:])
        for token in sorted(scores, key=lambda token: -scores[token])
        for at in range(1, len(token))
    ]
    known = [pair for pair in [*run_merges, *every] if pair[0] in ids and pair[1] in ids]
    expected = Tokenizer(models.BPE(ids, known, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    expected.normalizer = trainer.normalizer
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    expected.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    expected.add_special_tokens(["<unk>", "<s>", "</s>"])
    values = {
        "model": "llama",
        "pre": "default",
        "tokens": [token.replace("▁", " ") if token in runs else token for token in tokens],
        "scores": np.array([scores.get(token, -1e4) for token in tokens], np.float32),
        "token_type": np.array(kinds, np.int32),
        "add_space_prefix": prefix,
    }
    return expected, values


@pytest.mark.parametrize("prefix", [True, False])
def test_scores_of_sentence_piece_become_merges(prefix: bool) -> None:
    expected, values = sentence_piece(prefix)
    actual = made(of(values))
    for text in [*TEXTS, "the  thing   that    was", "<s>the thing</s> 龘"]:
        ids = expected.encode(text, add_special_tokens=False).ids
        assert actual.encode(text, add_special_tokens=False).ids == ids, text
        assert actual.decode(ids, skip_special_tokens=False) == expected.decode(ids, skip_special_tokens=False)


def test_texts_get_the_tokens_around_them_that_the_file_says() -> None:
    _, values = sentence_piece(True)
    named = {**values, "bos_token_id": 1, "eos_token_id": 2}
    plain = made(of(values)).encode("the thing", add_special_tokens=False).ids
    for changes, ids in (
        ({}, [1, *plain]),
        ({"add_bos_token": False}, plain),
        ({"add_eos_token": True}, [1, *plain, 2]),
        ({"add_bos_token": False, "add_eos_token": True}, [*plain, 2]),
    ):
        tokenizer = made(of({**named, **changes}))
        assert tokenizer.encode("the thing").ids == ids
        assert tokenizer.encode("the thing", add_special_tokens=False).ids == plain
    assert made(of(values)).encode("the thing").ids == plain, "the file names no such token"
    for pre, begins in (("llama-bpe", True), ("tekken", True), ("qwen2", False), ("gpt-4o", False)):
        tokenizer = made(metadata(trained([pre_tokenizers.ByteLevel()]), pre=pre, bos_token_id=0))
        assert (tokenizer.encode("a").ids[0] == 0) is begins, pre


def test_special_tokens_of_phi_3_swallow_the_space_after_them() -> None:
    _, values = sentence_piece(True)
    tokenizer = made(of(values), "phi3")
    assert tokenizer.encode("</s> the").ids == tokenizer.encode("</s>the").ids
    assert tokenizer.encode("<s> the").ids != tokenizer.encode("<s>the").ids


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "t5"}, r"key tokenizer\.ggml\.model is not supported; supported: gpt2, llama, got 't5'"),
        ({"model": None}, r"key tokenizer\.ggml\.model is missing"),
        ({"pre": "bloom"}, r"key tokenizer\.ggml\.pre is not supported; supported: .*, got 'bloom'"),
        ({"pre": None}, r"key tokenizer\.ggml\.pre is not supported; supported: .*, got None"),
        ({"tokens": None}, r"tokenizer\.ggml\.tokens must be a list of strings that is not empty, got None"),
        ({"tokens": ["a", "a"], "token_type": None}, r"tokens must not hold token 'a' twice"),
        ({"token_type": np.ones(3, np.int32)}, r"token_type must have an entry for each of \d+ tokens"),
        ({"merges": []}, r"merges must be a list of strings that is not empty, got \[\]"),
        ({"merges": ["ab"]}, r"merges must hold pairs of tokens, but one entry is 'ab'"),
        ({"merges": ["a unknown"]}, r"the vocabulary is not usable \(.*unknown"),
    ],
)  # fmt: skip
def test_damaged_vocabularies_are_refused(changes: dict[str, Any], message: str) -> None:
    tokenizer = trained([pre_tokenizers.ByteLevel(add_prefix_space=False)])
    with pytest.raises(ModelError, match=rf"a\.gguf: .*{message}"):
        made(metadata(tokenizer, **{"pre": "gpt-2", **changes}))


def test_tokens_that_end_an_answer() -> None:
    tokenizer = trained([pre_tokenizers.ByteLevel(add_prefix_space=False)])
    found = metadata(tokenizer, eos_token_id=7, eot_token_id=300, eom_token_id=2**32 - 1)
    assert {7, 300} < set(stop_ids(found, read_vocabulary(found)))
    outside = metadata(tokenizer, eos_token_id=9999)
    with pytest.raises(
        ModelError, match=r"key tokenizer\.ggml\.eos_token_id must be below the number of tokens, \d+, got"
    ):
        stop_ids(outside, read_vocabulary(outside))


@pytest.mark.parametrize(
    ("control", "ends"),
    [
        (["<|endoftext|>", "<|assistant|>", "<|end|>"], ["<|endoftext|>", "<|end|>"]),  # Phi 3
        (["<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>"], ["<|end_of_text|>", "<|eot_id|>"]),  # Llama 3
        (["<|return|>", "<|call|>", "<|end|>", "<|channel|>"], ["<|return|>", "<|call|>"]),  # gpt-oss
    ],
)
def test_control_tokens_that_the_file_does_not_name_end_an_answer_too(control: list[str], ends: list[str]) -> None:
    tokens = ["a", "<|im_end|>", *control]  # the second is text
    values = {
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array([1, 1, *[3] * len(control)], np.int32),
        "tokenizer.ggml.eos_token_id": 2,
    }
    found = Metadata(Path("a.gguf"), values)
    assert [tokens[id_] for id_ in stop_ids(found, read_vocabulary(found))] == ends


def test_a_padding_token_outside_the_vocabulary_is_left_out() -> None:
    tokenizer = trained([pre_tokenizers.ByteLevel(add_prefix_space=False)])
    found = metadata(tokenizer, eos_token_id=7, padding_token_id=9999)
    assert named_ids(found, read_vocabulary(found)) == {"eos_token": 7}
