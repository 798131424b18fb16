"""Rotary position embedding and the frequency scalings that published checkpoints use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxchat.errors import ModelError

KINDS = ("default", "linear", "llama3", "yarn")


@dataclass(frozen=True, kw_only=True)
class RopeConfig:
    """Rotary base and scaling. Fields beyond `theta` and `factor` belong to the kind named in their comment."""

    theta: float = 10000.0
    kind: str = "default"
    factor: float = 1.0
    original_context: int = 8192  # llama3, yarn
    low_freq_factor: float = 1.0  # llama3
    high_freq_factor: float = 4.0  # llama3
    beta_fast: float = 32.0  # yarn
    beta_slow: float = 1.0  # yarn
    attention_factor: float | None = None  # yarn; None means 0.1 ln(factor) + 1
    truncate: bool = True  # yarn

    @staticmethod
    def from_hugging_face(raw: dict[str, Any]) -> RopeConfig:
        """Reads `rope_parameters` (transformers 5) or `rope_theta` with `rope_scaling` (earlier)."""
        scaling = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
        kind = scaling.get("rope_type", scaling.get("type", "default"))
        if kind not in KINDS:
            raise ModelError(f"config.json: rope type {kind!r} is not supported; supported: {', '.join(KINDS)}")
        if raw.get("partial_rotary_factor", scaling.get("partial_rotary_factor", 1.0)) != 1.0:
            raise ModelError("config.json: partial_rotary_factor other than 1 is not supported")
        if kind == "yarn" and scaling.get("mscale_all_dim"):
            raise ModelError("config.json: rope mscale_all_dim is not supported")
        context = raw.get("max_position_embeddings", 8192)
        return RopeConfig(
            theta=scaling.get("rope_theta", raw.get("rope_theta", 10000.0)),
            kind=kind,
            factor=float(scaling.get("factor", 1.0)),
            original_context=scaling.get("original_max_position_embeddings", context),
            low_freq_factor=scaling.get("low_freq_factor", 1.0),
            high_freq_factor=scaling.get("high_freq_factor", 4.0),
            beta_fast=scaling.get("beta_fast") or 32.0,
            beta_slow=scaling.get("beta_slow") or 1.0,
            attention_factor=scaling.get("attention_factor"),
            truncate=scaling.get("truncate", True),
        )


def frequencies(config: RopeConfig, head_width: int) -> tuple[np.ndarray, float]:
    """Angular frequencies `[d/2]` (f32, radians per position) and the factor on cosine and sine."""
    base = 1.0 / config.theta ** (np.arange(0, head_width, 2, dtype=np.float64) / head_width)
    scaled, magnitude = base, 1.0
    if config.kind == "linear":
        scaled = base / config.factor
    elif config.kind == "llama3":
        scaled = _llama3(base, config)
    elif config.kind == "yarn":
        scaled, magnitude = _yarn(base, config, head_width)
    return scaled.astype(np.float32), magnitude


def _llama3(base: np.ndarray, config: RopeConfig) -> np.ndarray:
    """Llama 3.1: long wavelengths are divided by `factor`, short ones kept, those between interpolated."""
    turns = config.original_context * base / (2 * math.pi)
    span = config.high_freq_factor - config.low_freq_factor
    smooth = np.clip((turns - config.low_freq_factor) / span, 0.0, 1.0)
    return base * (smooth + (1.0 - smooth) / config.factor)


def _yarn(base: np.ndarray, config: RopeConfig, head_width: int) -> tuple[np.ndarray, float]:
    """YaRN (arXiv 2309.00071): a ramp over dimensions from unscaled to interpolated."""

    def dimension(turns: float) -> float:
        wavelength = config.original_context / (turns * 2 * math.pi)
        return head_width * math.log(wavelength) / (2 * math.log(config.theta))

    low, high = dimension(config.beta_fast), dimension(config.beta_slow)
    if config.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_width - 1)
    ramp = np.clip((np.arange(head_width // 2) - low) / max(high - low, 0.001), 0.0, 1.0)
    magnitude = config.attention_factor
    if magnitude is None:
        magnitude = 0.1 * math.log(config.factor) + 1.0 if config.factor > 1 else 1.0
    return base * (1 - ramp) + base / config.factor * ramp, magnitude


def rotation(config: RopeConfig, head_width: int, positions: Array) -> tuple[Array, Array]:
    """Cosine and sine `[T, 1, d/2]` (f32) for `positions[T]` (int32)."""
    frequency, magnitude = frequencies(config, head_width)
    angle = positions.astype(jnp.float32)[:, None, None] * frequency
    return jnp.cos(angle) * magnitude, jnp.sin(angle) * magnitude


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    """Rotates `x[T, heads, d]` by halves (the layout of Hugging Face checkpoints); computes in f32."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x.dtype)
