"""Small tokenizers, one for each form that real ones have."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from tests import tiny

SPACE = "\u2581"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
WORDS = ["he", "hello", f"{SPACE}hello"]
MERGES = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), (SPACE, "hello")]
CHARS = [chr(code) for code in range(33, 127)]
DECODER = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]


def pieces(*more: str) -> dict[str, int]:
    """Returns the vocabulary of a SentencePiece model that contains control tokens and the pieces `more`."""
    names = ["<pad>", "<s>", "</s>", "<unk>", *BYTES, *CHARS, SPACE, "\n", "ll", "hell", *WORDS, *more]
    return {name: index for index, name in enumerate(dict.fromkeys(names))}


def sentencepiece(*more: str) -> Tokenizer:
    made = Tokenizer(models.BPE(pieces(*more), MERGES, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.add_special_tokens(["<pad>", "<s>", "</s>", "<unk>"])
    return made


def gemma() -> str:
    """Returns a tokenizer like Gemma's. Its control tokens are special; runs of spaces and HTML tags are added but not
    special.
    """
    runs = [SPACE * size for size in range(2, 9)]
    made = sentencepiece(*runs, "<b>", "</b>", "<turn>", "</turn>")
    made.normalizer = normalizers.Replace(" ", SPACE)
    made.decoder = decoders.Sequence(DECODER)
    made.add_special_tokens(["<turn>", "</turn>"])
    made.add_tokens([AddedToken(text, normalized=False) for text in (*runs, "<b>", "</b>", "<img>")])
    return made.to_str()


def many(count: int = 4000) -> str:
    """Returns a byte-level tokenizer with `count` added tokens that begin alike."""
    made = Tokenizer.from_str(tiny.tokenizer_json())
    made.add_special_tokens([f"<|reserved_{index}|>" for index in range(count // 2)])
    made.add_tokens([f"<unused_{index}>" for index in range(count // 2)])
    return made.to_str()


def metaspace(scheme: str, turns: Iterable[str] = ("[INST]", "[/INST]")) -> str:
    """Returns a tokenizer like that of Llama 2 without its legacy behaviour.

    Args:
        scheme: where a space is put in front of text: "first", "always" or "never".
        turns: added tokens around turns, which are not special.
    """
    made = sentencepiece()
    made.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme=scheme, split=False)
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(SPACE, prepend_scheme=scheme)])
    made.add_tokens([AddedToken(text, normalized=False) for text in turns])
    return made.to_str()


def legacy() -> str:
    """Returns a tokenizer like that of Llama 2, whose normaliser puts a space in front of every stretch of text."""
    made = sentencepiece()
    made.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    made.decoder = decoders.Sequence([*DECODER, decoders.Strip(" ", 1, 0)])
    made.add_tokens([AddedToken(text, normalized=False) for text in ("[INST]", "[/INST]")])
    return made.to_str()


def unigram() -> str:
    """Returns a Unigram tokenizer, whose model finds all pieces of its vocabulary in text, including control tokens."""
    vocab = [(name, 0.0 if name.startswith("<") else -2.0) for name in pieces()]
    made = Tokenizer(models.Unigram(vocab, unk_id=3, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" ", SPACE)])
    made.decoder = decoders.Sequence(DECODER)
    made.add_special_tokens(["<pad>", "<s>", "</s>", "<unk>"])
    return made.to_str()


def byte_level(normalizer: normalizers.Normalizer) -> str:
    """Returns a byte-level tokenizer with a normaliser: NFC as Qwen 3, NFKC as Claude, or an empty sequence as DeepSeek
    V3.
    """
    made = Tokenizer.from_str(tiny.tokenizer_json())
    made.normalizer = normalizer
    return made.to_str()


def flagged(source: str = "", **flags: bool) -> str:
    """Returns a tokenizer whose added tokens have the flags `flags`, such as `rstrip=True`.

    Args:
        source: the text of a `tokenizer.json`; "" for a byte-level one.
        flags: values of flags by name.
    """
    spec = json.loads(source or tiny.tokenizer_json())
    for token in spec["added_tokens"]:
        token |= flags
    return json.dumps(spec)
