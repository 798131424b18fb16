"""Who multiplies activations by weights: the kernels in C++ where a CPU can have them, else XLA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxchat.config import EngineConfig
from jaxchat.models.config import ModelConfig
from jaxchat.models.packing import Native, Rounded, pack
from jaxchat.runtime.mesh import Placement
from jaxchat.runtime.native import product_calls
from jaxchat.types import Report


def for_products(
    params: dict[str, Any],
    model: ModelConfig,
    engine: EngineConfig,
    placement: Placement,
    kept: Path | None,
    report: Report = lambda *_: None,
) -> tuple[dict[str, Any], str]:
    """The parameters in the form that the products want, and who computes those.

    Args:
        params: placed by `placement`; replaced weight by weight where their form changes.
        kept: folder for built kernels; None builds them for this process alone.
        report: is told when kernels are built.

    Raises:
        ValueError: int8 weights on several devices.
    """
    rounded = engine.quantize == "int8"
    if rounded and placement.mesh.size > 1:
        raise ValueError(f"quantize int8 serves one device, tensor_parallel is {placement.mesh.size}")
    targets, who = product_calls(engine, placement, kept, report)
    if rounded:
        return pack(params, model, Rounded(targets)), f"of int8 {who}"
    return (pack(params, model, Native(targets)) if targets else params), who
