"""Who multiplies activations by weights: the kernels in C++ where a CPU can have them, else XLA."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import jax

from jaxchat.config import EngineConfig
from jaxchat.kernels.attention.cpu_native import native_attention
from jaxchat.kernels.attention.select import Choice
from jaxchat.kernels.cpp.build import NativeError, is_built
from jaxchat.kernels.matmul.native import native_matmuls
from jaxchat.models.config import ModelConfig
from jaxchat.parallel.mesh import Placement
from jaxchat.runtime.program_specs import choose_attention
from jaxchat.runtime.weight_packing import Native, Rounded, pack
from jaxchat.types import Report


def for_matmul(
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
    targets, who = matmul_calls(engine, placement, kept, report)
    if rounded:
        return pack(params, model, Rounded(targets)), f"of int8 {who}"
    return (pack(params, model, Native(targets)) if targets else params), who


logger = logging.getLogger(__name__)


def matmul_calls(
    engine: EngineConfig, placement: Placement, kept: Path | None, report: Report = lambda *_: None
) -> tuple[dict[str, str], str]:
    """Returns the custom calls for products by dtype, none where XLA multiplies, and a phrase for what multiplies.

    Args:
        kept: folder for built kernels; None builds them for this process alone.
        report: is told when kernels are built.
    """
    if refused := _refusal(engine, placement):
        return {}, refused
    try:
        if is_built(kept):
            return native_matmuls(kept), "by kernels in C++"
        report("building kernels", 0, 1)
        calls = native_matmuls(kept)
        report("building kernels", 1, 1)
        return calls, "by kernels in C++"
    except NativeError as error:
        logger.warning("products are left to XLA, which is slower for few rows: %s", error)
        return {}, f"by XLA: {error}"


def attention_here(engine: EngineConfig, model: ModelConfig, placement: Placement, kept: Path | None) -> Choice:
    """The attention path on the devices at hand; `kept` as for `matmul_calls`."""
    return choose_attention(engine, model, placement, jax.default_backend(), _attention_calls(engine, placement, kept))


def _attention_calls(engine: EngineConfig, placement: Placement, kept: Path | None) -> dict[str, str]:
    """The custom calls for attention by dtype, none where there are none for products."""
    if _refusal(engine, placement):
        return {}
    try:
        return native_attention(kept)
    except NativeError:
        return {}


def _refusal(engine: EngineConfig, placement: Placement) -> str:
    if jax.default_backend() != "cpu":
        return "by XLA"
    if engine.products == "xla":
        return "by XLA, as configured"
    return "by XLA: the kernels in C++ serve one device" if placement.mesh.size > 1 else ""
