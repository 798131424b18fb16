"""The one place that imports kernels shipped with jax: late, because not every platform can, and some warn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module

from jax import Array

Kernel = Callable[..., Array]
_OPS = "jax.experimental.pallas.ops"


def ragged_paged_attention() -> Kernel:
    """The TPU kernel for ragged batches over pages `[N, page, 2 K, d]`."""
    return _load("tpu.ragged_paged_attention", "ragged_paged_attention")


def _load(module: str, name: str) -> Kernel:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # jax 0.11 announces the end of its GPU kernels
        kernel: Kernel = getattr(import_module(f"{_OPS}.{module}"), name)
    return kernel
