"""The machine's current limits. Shared machines change within minutes, so each figure has the limits of its time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Limits:
    """Bytes read per second, and multiply-adds counted twice per second."""

    bandwidth: float
    matmul: float


class Probe:
    """Reads memory, and multiplies square matrices in the precision of the run."""

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
    """Returns the least time of a pass over `rows` tokens: every weight read once, two operations per weight and
    row.
    """
    return max(weights * jnp.dtype(dtype).itemsize / limits.bandwidth, 2 * weights * rows / limits.matmul)


def fastest(work: Callable[[], object]) -> float:
    """Seconds of the best of three tries."""

    def timed() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return min(timed() for _ in range(3))
