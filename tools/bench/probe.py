"""Measures the machine's current limits. Limits change within minutes, so they are stored with each measurement."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Limits:
    """Bytes read per second, and floating-point operations per second. A multiply-add counts as two operations."""

    bandwidth: float
    matmul: float


class Probe:
    """A benchmark of memory reads and matrix products. Calling it measures the current `Limits`.

    Args:
        dtype: type of the matrices.
        megabytes: size of the memory that is read, in MiB.
        width: width of the square matrices.
    """

    def __init__(self, dtype: str, *, megabytes: int = 512, width: int = 2048) -> None:
        self._run = jnp.ones(megabytes * 2**18, jnp.float32)
        self._read = jax.jit(jnp.sum)  # on all cores, unlike NumPy's
        self._square = jnp.ones((width, width), dtype)
        # XLA:CPU widens bf16 matrices to f32 first unless the f32 result is asked for.
        self._multiply = jax.jit(lambda x: jnp.dot(x, x, preferred_element_type=jnp.float32))
        self()

    def __call__(self) -> Limits:
        """Measures both limits, each as the best of three tries. Takes about half a second."""
        read = fastest(lambda: self._read(self._run).block_until_ready())
        product = fastest(lambda: self._multiply(self._square).block_until_ready())
        return Limits(self._run.nbytes / read, 2 * self._square.shape[0] ** 3 / product)


def floor_seconds(weights: int, dtype: str, rows: int, limits: Limits) -> float:
    """Returns the shortest possible time of a pass, in seconds.

    The pass reads each weight once, and computes two operations per weight and row.

    Args:
        weights: number of weights.
        dtype: dtype of the weights.
        rows: number of tokens.
        limits: rates of the machine.
    """
    return max(weights * jnp.dtype(dtype).itemsize / limits.bandwidth, 2 * weights * rows / limits.matmul)


def fastest(work: Callable[[], object]) -> float:
    """Returns the seconds of the fastest of three calls of `work`."""

    def timed() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return min(timed() for _ in range(3))
