"""Tries the kernel of `gpu_weight_only` on the GPU of this process, before weights are given to it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxchat.kernels.matmul.gpu_weight_only import matmul
from jaxchat.kernels.matmul.rounding import round_rows
from jaxchat.kernels.matmul.weight_only import FUSED_ROWS, WeightLayout
from jaxchat.kernels.matmul.weight_only_build import from_rows
from jaxchat.quantised import Factors, QuantisedRows

logger = logging.getLogger(__name__)
INPUTS, FEW = 1024, 5


def most_rows() -> int:
    """Returns the largest number of rows, up to `FUSED_ROWS`, with which the kernel works, or 0.

    It works if it compiles, and multiplies weights of several forms as it should. Logs a warning for each failure.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((FUSED_ROWS, INPUTS)).astype(np.float32)
    weights = _weights(rng)

    def works(count: int) -> bool:
        problems = (_problem(x[:count], form, rows) for form, rows in weights.items())
        if reason := next(filter(None, problems), ""):
            logger.warning("the kernel for quantised weights %s", reason)
        return not reason

    most = next((count for count in (FUSED_ROWS, 64, 32, 16) if works(count)), 0)
    return most if most and works(FEW) else 0


def _weights(rng: np.random.Generator) -> dict[str, QuantisedRows]:
    """Returns weights of 128 or 64 outputs, for both widths of the kernel's instances."""

    def factors(count: int, group: int) -> Factors:
        outer = rng.standard_normal((count, INPUTS // 256)).astype(np.float16) / 64
        return Factors(outer, rng.integers(-64, 64, (count, INPUTS // group), np.int8))

    plain = round_rows(rng.standard_normal((128, INPUTS)).astype(np.float32), 4)
    codes = rng.integers(0, 64, (64, INPUTS), np.uint8)
    minima = QuantisedRows(codes & 15, 4, 32, factors(64, 32), minimum=factors(64, 32))
    return {
        "4 bits": plain,
        "4 bits, zero points": replace(plain, zero=plain.codes[:, ::32]),
        "4 bits, minima": minima,
        "6 bits": QuantisedRows(codes, 6, 16, factors(64, 16), 32),
    }


def _problem(x: np.ndarray, form: str, rows: QuantisedRows) -> str:
    weight: Any = from_rows([rows], WeightLayout((len(rows.codes),)), jnp.dtype("bfloat16"))
    right, place = x @ rows.dequantised().T, f"with {len(x)} rows and weights of {form}"
    try:
        error = np.abs(np.asarray(jax.jit(matmul)(x, jax.tree.map(jnp.asarray, weight))) - right).max()
    except Exception as failure:  # of many types: the compiler's and the driver's
        return f"fails {place}: {(str(failure) or type(failure).__name__).splitlines()[0]}"
    return "" if error < 0.02 * np.abs(right).max() else f"is wrong by {error:.3g} {place}"
