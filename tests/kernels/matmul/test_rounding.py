"""Rounding to groups of 4 and 8 bits, beside that of GGUF's types Q4_0 and Q8_0."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from jaxchat.kernels.matmul.rounding import round_rows

PEERS = {4: gguf.GGMLQuantizationType.Q4_0, 8: gguf.GGMLQuantizationType.Q8_0}


def weights(rows: int = 300, inputs: int = 128) -> np.ndarray:
    w = np.random.default_rng(0).standard_normal((rows, inputs)).astype(np.float32)
    w[0], w[1, :32], w[2, 5] = 0, 1e-3 * w[1, :32], 60
    return w


def error(w: np.ndarray, rounded: np.ndarray) -> float:
    """The squared error, where errors count as much as the squares of the numbers."""
    return float((w**2 * (w - rounded) ** 2).sum())


@pytest.mark.parametrize("bits", PEERS)
def test_errors_are_at_most_those_of_gguf(bits: int) -> None:
    w = weights()
    rounded = round_rows(w, bits)
    peer = gguf.dequantize(gguf.quantize(w, PEERS[bits]), PEERS[bits])
    assert error(w, rounded.dequantised()) <= (0.95 if bits == 4 else 1.001) * error(w, peer)
    assert (rounded.dequantised()[0] == 0).all()
    assert rounded.codes.max() == 2**bits - 1


@pytest.mark.parametrize("bits", PEERS)
def test_what_is_on_the_grid_stays(bits: int) -> None:
    codes = np.random.default_rng(1).integers(1 - 2 ** (bits - 1), 2 ** (bits - 1), (5, 64))
    codes[:, ::32] = 2 ** (bits - 1) - 1
    codes[:, 1::32] = 1 - 2 ** (bits - 1)
    w = codes.astype(np.float32) / 8
    np.testing.assert_array_equal(round_rows(w, bits).dequantised(), w)


def test_rows_are_padded_to_whole_groups() -> None:
    w = weights(inputs=50)
    rounded = round_rows(w, 8)
    assert rounded.shape == (300, 64)
    assert np.abs(rounded.dequantised()[:, :50] - w).max() < 0.3
    assert (rounded.dequantised()[:, 50:] == 0).all()
