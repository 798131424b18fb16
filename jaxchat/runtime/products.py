"""Who multiplies activations by weights: the kernels in C++ where a CPU can have them, else XLA."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import jax

from jaxchat.config import EngineConfig
from jaxchat.kernels.native.build import NativeError
from jaxchat.kernels.products import native_products
from jaxchat.models.config import ModelConfig
from jaxchat.models.packing import Native, Rounded, pack
from jaxchat.runtime.mesh import Placement

logger = logging.getLogger(__name__)


def for_products(
    params: dict[str, Any], model: ModelConfig, engine: EngineConfig, placement: Placement, kept: Path | None
) -> tuple[dict[str, Any], str]:
    """The parameters in the form that the products want, and who computes those.

    Args:
        params: placed by `placement`; replaced weight by weight where their form changes.
        kept: folder for built kernels; None builds them for this process alone.

    Raises:
        ValueError: int8 weights on several devices.
    """
    rounded = engine.quantize == "int8"
    if rounded and placement.mesh.size > 1:
        raise ValueError(f"quantize int8 serves one device, tensor_parallel is {placement.mesh.size}")
    targets, who = _native(engine, placement, kept)
    if rounded:
        return pack(params, model, Rounded(targets)), f"of int8 {who}"
    return (pack(params, model, Native(targets)) if targets else params), who


def _native(engine: EngineConfig, placement: Placement, kept: Path | None) -> tuple[dict[str, str], str]:
    """The custom calls by dtype, none where XLA multiplies, and who does and why."""
    if jax.default_backend() != "cpu":
        return {}, "by XLA"
    if engine.products == "xla":
        return {}, "by XLA, as configured"
    if placement.mesh.size > 1:
        return {}, "by XLA: the kernels in C++ serve one device"
    try:
        return native_products(kept), "by kernels in C++"
    except NativeError as error:
        logger.warning("products are left to XLA, which is slower for few rows: %s", error)
        return {}, f"by XLA: {error}"
