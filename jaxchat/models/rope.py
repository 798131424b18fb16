"""Rotary position embedding and the frequency scalings that published checkpoints use.

Letters: T tokens, d dimensions of a head, r rotated dimensions of a head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxchat.kernels.once import computed_once


@dataclass(frozen=True, kw_only=True)
class RopeConfig:
    """The rotary base and frequency scaling.

    Some fields apply only to certain values of `kind`. The comments on these fields begin with those values.
    """

    theta: float = 10000.0
    fraction: float = 1.0  # the leading part of the head dimension that is rotated; proportional: of each half
    kind: str = "default"
    factor: float = 1.0
    interleaved: bool = False  # neighbouring elements form a pair, instead of those half the rotated part apart
    query_beta: float = 0.0  # queries grow by this times log(1 + position // original_context), as in Llama 4
    original_context: int = 8192  # llama3, yarn, longrope, and any kind with `query_beta`; in tokens
    low_freq_factor: float = 1.0  # llama3
    high_freq_factor: float = 4.0  # llama3
    beta_fast: float = 32.0  # yarn
    beta_slow: float = 1.0  # yarn
    attention_factor: float | None = None  # yarn, longrope; None: the value of their papers
    truncate: bool = True  # yarn
    short_factors: tuple[float, ...] = ()  # longrope, [r/2]: for contexts up to the original one
    long_factors: tuple[float, ...] = ()  # longrope, [r/2]: for longer ones
    long: bool = False  # longrope: which of the two

    def rotated(self, head_dim: int) -> int:
        """Returns r, the number of rotated dimensions of a head with `head_dim` dimensions."""
        return head_dim if self.kind == "proportional" else int(head_dim * self.fraction)


class RopeTables(NamedTuple):
    """The cosines and sines that rotate queries and keys at T positions."""

    cos: Array  # f32 [T, 1, r/2]
    sin: Array  # likewise
    query_scale: Array | None = None  # f32 [T, 1, 1]; None: 1
    interleaved: bool = False


def frequencies(config: RopeConfig, head_dim: int) -> tuple[np.ndarray, float]:
    """Returns the frequencies and the magnitude of a rotary embedding.

    Args:
        config: the rotary base and frequency scaling.
        head_dim: d.

    Returns:
        Angular frequencies, f32 `[r/2]`, in radians per position, and the factor that multiplies cosine and sine.
    """
    width = config.rotated(head_dim)
    base = 1.0 / config.theta ** (np.arange(0, width, 2, dtype=np.float64) / width)
    scaled, magnitude = base, 1.0
    if config.kind == "linear":
        scaled = base / config.factor
    elif config.kind == "llama3":
        scaled = _llama3(base, config)
    elif config.kind == "yarn":
        scaled, magnitude = _yarn(base, config, width)
    elif config.kind == "longrope":
        scaled, magnitude = _longrope(base, config)
    elif config.kind == "proportional":
        scaled = _proportional(base, config)
    return scaled.astype(np.float32), magnitude


def _llama3(base: np.ndarray, config: RopeConfig) -> np.ndarray:
    """Scales the frequencies f64 `[r/2]` as Llama 3.1 does.

    Divides low frequencies by `factor`, keeps high frequencies, and interpolates in between.
    """
    turns = config.original_context * base / (2 * math.pi)
    span = config.high_freq_factor - config.low_freq_factor
    smooth = np.clip((turns - config.low_freq_factor) / span, 0.0, 1.0)
    return base * (smooth + (1.0 - smooth) / config.factor)


def _yarn(base: np.ndarray, config: RopeConfig, width: int) -> tuple[np.ndarray, float]:
    """Scales the frequencies f64 `[r/2]` by YaRN (arXiv 2309.00071). Also returns the magnitude.

    Keeps the first frequencies, divides the last ones by `factor`, and interpolates linearly in between.
    """

    def dimension(turns: float) -> float:
        wavelength = config.original_context / (turns * 2 * math.pi)
        return width * math.log(wavelength) / (2 * math.log(config.theta))

    low, high = dimension(config.beta_fast), dimension(config.beta_slow)
    if config.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    ramp = np.clip((np.arange(width // 2) - low) / max(high - low, 0.001), 0.0, 1.0)
    magnitude = config.attention_factor
    if magnitude is None:
        magnitude = 0.1 * math.log(config.factor) + 1.0 if config.factor > 1 else 1.0
    return base * (1 - ramp) + base / config.factor * ramp, magnitude


def _longrope(base: np.ndarray, config: RopeConfig) -> tuple[np.ndarray, float]:
    """Scales the frequencies f64 `[r/2]` by LongRoPE (arXiv 2402.13753). Also returns the magnitude.

    Each frequency has a separate divisor.
    """
    magnitude = config.attention_factor
    if magnitude is None:
        stretch = math.log(max(config.factor, 1.0)) / math.log(config.original_context)
        magnitude = math.sqrt(1 + stretch)
    return base / np.array(config.long_factors if config.long else config.short_factors), magnitude


def _proportional(base: np.ndarray, config: RopeConfig) -> np.ndarray:
    """Scales the frequencies f64 `[r/2]` as Gemma 4 does.

    Divides the first frequencies by `factor`, and sets the others to 0. `fraction` is the share of the first ones.
    """
    kept = int(config.fraction * len(base))
    return np.where(np.arange(len(base)) < kept, base / config.factor, 0.0)


def rotation(config: RopeConfig, head_dim: int, positions: Array) -> RopeTables:
    """Returns the tables that rotate heads of `head_dim` dimensions at `positions[T]` (int32)."""
    frequency, magnitude = frequencies(config, head_dim)

    def tables(positions: Array) -> tuple[Array, Array]:
        angle = positions.astype(jnp.float32)[:, None, None] * frequency
        return jnp.cos(angle) * magnitude, jnp.sin(angle) * magnitude

    scale = _query_scale(config, positions)[:, None, None] if config.query_beta else None
    return RopeTables(*computed_once(tables, positions), scale, config.interleaved)


def _query_scale(config: RopeConfig, positions: Array) -> Array:
    """Returns the factors that multiply the queries at `positions`, f32 `[T]`. They grow with the position."""
    periods = 1.0 + (positions // config.original_context).astype(jnp.float32)
    # Barriers, because the bits of a fused logarithm may depend on the row count, as those of `moe.route` do.
    logarithm = jax.lax.optimization_barrier(jnp.log(jax.lax.optimization_barrier(periods)))
    return 1.0 + config.query_beta * logarithm


def rotate(x: Array, tables: RopeTables) -> Array:
    """Rotates the first r dimensions of each head of `x[T, heads, d]` by `tables`. Returns f32 of the same shape.

    Interleaved pairs are reordered: the first elements of all pairs precede the second ones. Attention scores do not
    change, because queries and keys are permuted alike.
    """
    cos, sin = tables.cos, tables.sin
    half = cos.shape[-1]
    x = x.astype(jnp.float32)
    rotated, remainder = x[..., : 2 * half], x[..., 2 * half :]
    if tables.interleaved:
        first, second = rotated[..., ::2], rotated[..., 1::2]
    else:
        first, second = rotated[..., :half], rotated[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin, remainder], axis=-1)
