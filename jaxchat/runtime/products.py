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
from jaxchat.models.packing import pack
from jaxchat.runtime.mesh import Placement

logger = logging.getLogger(__name__)


def for_products(
    params: dict[str, Any], model: ModelConfig, engine: EngineConfig, placement: Placement, kept: Path | None
) -> tuple[dict[str, Any], str]:
    """The parameters in the form that the products want, and who computes those.

    Args:
        params: placed by `placement`; replaced weight by weight where their form changes.
        kept: folder for built kernels; None builds them for this process alone.
    """
    if jax.default_backend() != "cpu":
        return params, "by XLA"
    if engine.products == "xla":
        return params, "by XLA, as configured"
    if placement.mesh.size > 1:
        return params, "by XLA: the kernels in C++ serve one device"
    try:
        targets = native_products(kept)
    except NativeError as error:
        logger.warning("products are left to XLA, which is slower for few rows: %s", error)
        return params, f"by XLA: {error}"
    return pack(params, model, targets), "by kernels in C++"
