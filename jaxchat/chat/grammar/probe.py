"""Compiles grammars; run by its path, tries one in a process that may be killed, with the grammar library alone.

That process reads messages from standard input, each 4 bytes of length and then JSON: first the tokenizer, then
grammars. It answers each grammar with its error, or with an empty text, in the same form. Its argument is how many
seconds one may take: after these it ends by itself, for who should have killed it must have been killed.
"""

from __future__ import annotations

import contextlib
import json
import signal
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

STEPS = 48  # tokens of a walk that finds out how costly masks are
SLOW = 0.05  # seconds of one mask
MEMORY = 4 << 30  # bytes that the process may map
LIMITS: dict[str, Any] = {
    "initial_lexer_fuel": 1_000_000,
    "step_lexer_fuel": 100_000,
    "max_items_in_row": 10_000,
    "step_max_items": 50_000,
    "max_lexer_states": 20_000,
    "max_grammar_size": 200_000,
    "precompute_large_lexemes": False,
    "verbose_errors": False,
}


Encode = Callable[[str], list[int]]


class _Table:
    """What `LLTokenizer` reads; `is_tokenizer_wrapper` is how it recognises one."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokens: list[bytes], ends: list[int], encode: Encode | None) -> None:
        # Every control token needs a spelling of its own, or the library takes one for the beginning of another.
        self.tokens = [data or b"[%d]" % token for token, data in enumerate(tokens)]
        self.encode = encode
        self.eos_token_id = ends[0]
        self.special_token_ids = sorted({token for token, data in enumerate(tokens) if not data} | set(ends))

    def __call__(self, text: bytes | str) -> list[int]:
        """The tokens that spell a text which the grammar forces; a mask then allows no others."""
        text = text if isinstance(text, str) else text.decode()
        if self.encode:
            ids = self.encode(text)
            if b"".join(self.tokens[token] for token in ids) == text.encode():
                return ids
        return self.greedy(text)

    def greedy(self, text: str) -> list[int]:
        """Replaced by the library's own as soon as there is one."""
        return []


def grammar_tokenizer(tokens: list[bytes], ends: list[int], encode: Encode | None = None) -> LLTokenizer:
    """`tokens` are the bytes of each id, empty for control tokens; `ends`, at least one, end an answer.

    `encode` gives the ids, all below `len(tokens)`, that the model knows a text by; else the longest tokens are taken.
    """
    table: Any = _Table(tokens, ends, encode)
    tokenizer = LLTokenizer(table, n_vocab=len(tokens), eos_token=ends, slices=LLTokenizer.json_slices())
    table.greedy = tokenizer.greedy_tokenize
    return tokenizer


def matcher(tokenizer: LLTokenizer, grammar: str) -> LLMatcher:
    """A matcher at the beginning, perhaps in error. Other threads run meanwhile."""
    return LLMatcher(tokenizer, grammar, log_level=0, limits=LLParserLimits(**LIMITS))


def error_of(tokenizer: LLTokenizer, grammar: str) -> str:
    """What goes wrong when the grammar is compiled and some text is generated, or nothing."""
    found = matcher(tokenizer, grammar)
    for step in range(STEPS):
        if found.is_error() or found.is_stopped():
            break
        started = time.monotonic()
        mask = found.compute_bitmask()
        if time.monotonic() - started > SLOW:
            return "following it takes too long"
        token = _some(mask, step)
        if token is None:
            return found.get_error() or "no value can satisfy this schema"
        found.consume_token(token)
    return found.get_error()


def _some(mask: bytes, step: int) -> int | None:
    """An allowed token, from another place in the vocabulary at every step."""
    first = step * 7919 % len(mask)
    for at in (*range(first, len(mask)), *range(first)):
        if mask[at]:
            return at * 8 + (mask[at] & -mask[at]).bit_length() - 1
    return None


def send(stream: BinaryIO, value: Any) -> None:
    """Writes one message."""
    data = json.dumps(value).encode()
    stream.write(struct.pack("<I", len(data)) + data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Reads one message. Raises EOFError when there is none."""
    head = stream.read(4)
    if len(head) < 4:
        raise EOFError
    return json.loads(stream.read(struct.unpack("<I", head)[0]))


def main(seconds: int) -> None:
    """Serves until standard input ends or a grammar takes that long."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    tokens, ends = receive(sys.stdin.buffer)
    tokenizer = grammar_tokenizer([bytes.fromhex(token) for token in tokens], ends)
    send(sys.stdout.buffer, "")
    alarm = getattr(signal, "alarm", lambda seconds: None)  # not on every system; the default action ends the process
    with contextlib.suppress(EOFError):
        while True:
            grammar = receive(sys.stdin.buffer)
            alarm(seconds)
            send(sys.stdout.buffer, error_of(tokenizer, grammar))
            alarm(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
