"""Rounds weights to 4 or 8 bits in groups with f16 scales, or to 8 bits in whole rows with f32 scales.

A group has 32 inputs of one output, a row all inputs of one output. Letters: k inputs, N outputs.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxchat.kernels.rounding import round_to_int8
from jaxchat.quantised import BLOCK, Factors, QuantisedRows

STEPS = 9  # scales that are tried above and below the one that just holds the largest number of a group
STEP = 0.1  # their distance, in codes of the largest number
AT_ONCE = 1 << 22  # numbers that are rounded at once, which bounds the memory of the search


def round_rows(w: np.ndarray, bits: int) -> QuantisedRows:
    """Rounds `w[N, k]`, f32, to `scale * (code - zero)`. The zero point is 8 with 4 bits, 128 with 8 bits.

    Rows are padded with zeros to whole groups. With 8 bits, the scale of a group is the largest magnitude of its
    numbers divided by 127. With 4 bits, several scales are tried. Each gives codes, for which the best scale is then
    computed. The scale with the least squared error is kept. The error of a number is weighted by the square of the
    number. llama.cpp finds the scales of its type Q4_0 in this way.

    Args:
        w: the weights of N outputs.
        bits: 4 or 8.
    """
    padded = np.pad(w, ((0, 0), (0, -w.shape[1] % BLOCK)))
    step = max(1, AT_ONCE // padded.shape[1])
    parts = [_rounded(padded[start : start + step], bits) for start in range(0, len(padded), step)]
    codes, scales = (np.concatenate([np.asarray(part[index]) for part in parts]) for index in range(2))
    return QuantisedRows(codes, bits, BLOCK, Factors(scales), zero=1 << (bits - 1))


@jax.jit(static_argnums=1)
def _rounded(w: Array, bits: int) -> tuple[Array, Array]:
    """Returns the codes, u8 `[N, k]`, and the scales, f16 `[N, k / 32]`, of `w[N, k]`."""
    groups = w.reshape(len(w), -1, BLOCK)
    half = 1 << (bits - 1)
    scale = (_searched(groups, half) if bits == 4 else jnp.max(jnp.abs(groups), -1) / (half - 1)).astype(jnp.float16)
    wide = scale.astype(jnp.float32)[..., None]
    codes = jnp.clip(jnp.round(groups / jnp.where(wide == 0, 1, wide)) + half, 0, 2 * half - 1)
    return codes.astype(jnp.uint8).reshape(w.shape), scale


def _searched(groups: Array, half: int) -> Array:
    """Returns the best scale of each group of `groups[N, k / 32, 32]`, f32 `[N, k / 32]`.

    A scale is negative if the number of largest magnitude is positive. The code of this number can then be `-half`,
    whereas the largest positive code is only `half - 1`.
    """
    largest = jnp.take_along_axis(groups, jnp.argmax(jnp.abs(groups), -1, keepdims=True), -1)

    def tried(index: Array, best: tuple[Array, Array]) -> tuple[Array, Array]:
        inverse = -(half + STEP * (index - STEPS)) / jnp.where(largest == 0, 1, largest)
        codes = jnp.clip(jnp.round(inverse * groups), -half, half - 1)
        weights = groups * groups
        fit, size = jnp.sum(weights * groups * codes, -1), jnp.sum(weights * codes * codes, -1)
        gain = jnp.where(size > 0, fit * fit / jnp.where(size > 0, size, 1), 0)
        better = gain > best[0]
        return jnp.where(better, gain, best[0]), jnp.where(better, fit / jnp.where(size > 0, size, 1), best[1])

    nothing = jnp.zeros(groups.shape[:2], jnp.float32)
    return jax.lax.fori_loop(0, 2 * STEPS + 1, tried, (nothing, nothing))[1]


def round_outputs(w: np.ndarray) -> QuantisedRows:
    """Rounds `w[N, k]`, f32, symmetrically to 8 bits with one f32 scale for each of the N outputs.

    The numbers are those of `jaxchat.kernels.matmul.int8`, shifted by 128 so that no code is negative.
    """
    step = max(1, AT_ONCE // w.shape[1])
    parts = [_rounded_outputs(w[start : start + step]) for start in range(0, len(w), step)]
    codes, scales = (np.concatenate([np.asarray(part[index]) for part in parts]) for index in range(2))
    return QuantisedRows(codes, 8, w.shape[1], Factors(scales[:, None]), zero=128)


@jax.jit
def _rounded_outputs(w: Array) -> tuple[Array, Array]:
    integers, scale = round_to_int8(w)
    return (integers + 128).astype(jnp.uint8), scale
