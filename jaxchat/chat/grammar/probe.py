"""Compiles grammars and probes them for errors. The sandbox runs this module as a script, in a separate process.

The process imports the grammar library and the standard library only. Messages to and from the process are JSON, after
4 bytes with the length of the JSON. From standard input, the process first reads the tokenizer, and then grammars, each
with a limit of processor time in seconds. For each grammar, the process writes the grammar's error, or an empty string,
and the processor time of the probe. If a grammar exceeds its limit, a signal ends the process.
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

STEPS = 48  # tokens that a probe generates to measure the cost of masks
SLOW = 0.05  # seconds of processor time for one mask, above which a grammar is too slow
NO_VALUE = "no value can satisfy this schema"
TOO_SLOW = "following it takes too long"
MEMORY = 4 << 30  # bytes that the process may map
ENDED_BY_LIMIT = -signal.SIGPROF if hasattr(signal, "SIGPROF") else None  # exit status after too much processor time
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
    """A token table in the form that `LLTokenizer` reads. The attribute `is_tokenizer_wrapper` marks this form."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokens: list[bytes], ends: list[int], encode: Encode | None) -> None:
        # Control tokens need distinct spellings. Otherwise the library mistakes one for the beginning of another.
        self.tokens = [data or b"[%d]" % token for token, data in enumerate(tokens)]
        self.encode = encode
        self.eos_token_id = ends[0]
        self.special_token_ids = sorted({token for token, data in enumerate(tokens) if not data} | set(ends))

    def __call__(self, text: bytes | str) -> list[int]:
        """Returns the token ids of a text that the grammar forces. The token mask then allows only these tokens."""
        text = text if isinstance(text, str) else text.decode()
        if self.encode:
            ids = self.encode(text)
            if b"".join(self.tokens[token] for token in ids) == text.encode():
                return ids
        return self.greedy(text)

    def greedy(self, text: str) -> list[int]:
        """Returns []. `grammar_tokenizer` replaces this method with a method of the library."""
        return []


def grammar_tokenizer(tokens: list[bytes], ends: list[int], encode: Encode | None = None) -> LLTokenizer:
    """Returns a tokenizer for the grammar library.

    Args:
        tokens: bytes of each token by id, empty for control tokens.
        ends: ids of the stop tokens, at least one.
        encode: encodes a text with the model's tokenizer. It must return ids below `len(tokens)`. If it is None, the
            library splits a text into the longest tokens.
    """
    table: Any = _Table(tokens, ends, encode)
    tokenizer = LLTokenizer(table, n_vocab=len(tokens), eos_token=ends, slices=LLTokenizer.json_slices())
    table.greedy = tokenizer.greedy_tokenize
    return tokenizer


def matcher(tokenizer: LLTokenizer, grammar: str) -> LLMatcher:
    """Returns a matcher at the beginning of a grammar. Its `is_error()` tells whether the grammar is invalid.

    Releases the GIL.
    """
    return LLMatcher(tokenizer, grammar, log_level=0, limits=LLParserLimits(**LIMITS))


def error_of(tokenizer: LLTokenizer, grammar: str) -> str:
    """Returns the error of a grammar, or an empty string.

    Compiles the grammar and generates up to `STEPS` tokens. Returns `TOO_SLOW` if one mask takes more than `SLOW`
    seconds of processor time. If the grammar allows no next token, returns the grammar's own error, or `NO_VALUE` if
    the grammar reports no error.
    """
    probed = matcher(tokenizer, grammar)
    for step in range(STEPS):
        if probed.is_error() or probed.is_stopped():
            break
        started = time.process_time()
        mask = probed.compute_bitmask()
        if time.process_time() - started > SLOW:
            return TOO_SLOW
        token = _allowed_token(mask, step)
        if token is None:
            return probed.get_error() or NO_VALUE
        probed.consume_token(token)
    return probed.get_error()


def _allowed_token(mask: bytes, step: int) -> int | None:
    """Returns an allowed token, or None if there is none. Each step searches from another part of the vocabulary on."""
    first = step * 7919 % len(mask)
    for index in (*range(first, len(mask)), *range(first)):
        if mask[index]:
            return index * 8 + (mask[index] & -mask[index]).bit_length() - 1
    return None


def send(stream: BinaryIO, value: Any) -> None:
    """Writes one message: 4 bytes of length, then JSON."""
    data = json.dumps(value).encode()
    stream.write(struct.pack("<I", len(data)) + data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Reads one message. Raises EOFError if the stream ends before the end of the message."""
    head = stream.read(4)
    if len(head) < 4:
        raise EOFError
    (size,) = struct.unpack("<I", head)
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return json.loads(data)


def _limit_time(seconds: float) -> None:
    """Allows this process `seconds` more of processor time. Then a signal ends the process. 0 removes the limit."""
    if hasattr(signal, "setitimer"):  # not on every system
        signal.setitimer(signal.ITIMER_PROF, seconds)


def main() -> None:
    """Probes grammars until standard input ends or one grammar takes too much processor time."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    tokens, ends = receive(sys.stdin.buffer)
    tokenizer = grammar_tokenizer([bytes.fromhex(token) for token in tokens], ends)
    send(sys.stdout.buffer, "")
    with contextlib.suppress(EOFError):
        while True:
            grammar, seconds = receive(sys.stdin.buffer)
            started = time.process_time()
            _limit_time(seconds)
            error = error_of(tokenizer, grammar)
            _limit_time(0)
            send(sys.stdout.buffer, [error, time.process_time() - started])


if __name__ == "__main__":
    main()
