"""Compares ids, bytes and streamed texts with those of `transformers`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random

from jaxchat.chat.response.choice import ChoiceBuilder, ChoiceOptions
from jaxchat.types import TokenEvent
from tools.tokenizers.subject import Subject

BYTE = re.compile(r"<0x[0-9A-F]{2}>")
GROUP = 50  # ids in a sequence


def wrong_prompts(subject: Subject, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields a pair (kind, text) for each text whose prompt is wrong.

    The kind is "forged" if the control tokens of our prompt differ from those of the prompt for a harmless word. It is
    "ids" if our ids differ from those of `transformers`. A text that forges control tokens in the prompt of
    `transformers` is not compared with that prompt.
    """
    harmless = subject.control(subject.ours("word"))
    for text in texts:
        ours, expected = subject.ours(text), subject.expected(text)
        if subject.control(ours) != harmless:
            yield "forged", text
        elif subject.control(expected) == harmless and ours != expected:
            yield "ids", text


def wrong_texts(subject: Subject, sequences: Sequence[Sequence[int]]) -> Iterator[tuple[str, Sequence[int]]]:
    """Yields a pair (kind, ids) for each fault in the text of a sequence of token ids.

    The right text is decoded from the bytes of all the tokens. The kind is "bytes" if `transformers` decodes another
    text, and "streams" if we stream another text. A sequence can have both faults.

    If byte tokens such as `<0xE2>` form invalid UTF-8, `transformers` also replaces valid bytes beside the invalid
    ones. Such a sequence cannot have the fault "bytes".
    """
    spellings = subject.theirs.convert_ids_to_tokens
    for ids in sequences:
        whole = b"".join(map(subject.tokenizer.bytes_of, ids)).decode("utf-8", "replace")
        if subject.tokenizer.strips_first_space:
            whole = whole.removeprefix(" ")
        decoded = subject.theirs.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        invalid = "\ufffd" in whole and any(BYTE.fullmatch(token or "") for token in spellings(list(ids)))
        if whole != decoded and not invalid:
            yield "bytes", ids
        if streamed(subject, ids) != whole:
            yield "streams", ids


def streamed(subject: Subject, ids: Sequence[int]) -> str:
    """Returns the text that a client receives if it reads after every token."""
    builder = ChoiceBuilder(subject.tokenizer, ChoiceOptions())
    parts = []
    for place, id_ in enumerate(ids):
        builder.feed(TokenEvent(0, 0, id_, "length" if place == len(ids) - 1 else None))
        parts.append(builder.take().text)
    return "".join(parts)


def sequences(subject: Subject, rng: Random, count: int) -> Iterator[list[int]]:
    """Yields sequences of ids: first some that together have each id once, then `count` random sequences.

    Half of the random sequences have only tokens that split characters, if the tokenizer has such tokens.
    """
    size = subject.tokenizer.size
    known = [id_ for id_ in range(size) if subject.tokenizer.spelling_of(id_) is not None]
    rng.shuffle(known)
    bytes_last = sorted(known, key=lambda id_: bool(BYTE.fullmatch(subject.tokenizer.spelling_of(id_) or "")))
    yield from (bytes_last[start : start + GROUP] for start in range(0, len(known), GROUP))
    fragments = [id_ for id_ in known if _is_fragment(subject.tokenizer.bytes_of(id_))] or known
    for number in range(count):
        yield rng.choices(fragments if number % 2 else known, k=rng.randint(1, GROUP))


def _is_fragment(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return True
    return False
