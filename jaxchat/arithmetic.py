"""Integer arithmetic that several layers need."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np


def cdiv(dividend: int, divisor: int) -> int:
    """Returns `dividend / divisor`, rounded up to a whole number; `divisor` is positive."""
    return -(-dividend // divisor)


def token_bits(tokens: np.ndarray | Collection[int], vocab: int) -> np.ndarray:
    """Returns a set of tokens as u32 `[ceil(V / 32)]`: bit j % 32 of word j // 32 for token j.

    Args:
        tokens: token ids, each below `vocab`.
        vocab: V, the size of the vocabulary.
    """
    ids = np.asarray(tokens if isinstance(tokens, np.ndarray) else [*tokens], np.uint32)
    bits = np.zeros(cdiv(vocab, 32), np.uint32)
    np.bitwise_or.at(bits, ids // 32, np.uint32(1) << ids % 32)
    return bits
