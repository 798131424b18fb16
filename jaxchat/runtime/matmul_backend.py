"""Selects the implementation of matrix products: the C++ kernels on a CPU that supports them, otherwise XLA."""

from __future__ import annotations

import logging
from pathlib import Path

import jax

from jaxchat.config import EngineConfig
from jaxchat.kernels.attention.cpu_native import native_attention
from jaxchat.kernels.attention.select import Choice
from jaxchat.kernels.cpp.build import NativeError, is_built
from jaxchat.kernels.matmul.native import native_matmuls
from jaxchat.models.config import ModelConfig
from jaxchat.parallel.mesh import Placement
from jaxchat.runtime.program_specs import choose_attention
from jaxchat.runtime.weight_packing import Native, Packing, Rounded
from jaxchat.types import Report

logger = logging.getLogger(__name__)


def choose_packing(
    engine: EngineConfig, placement: Placement, folder: Path | None, report: Report = lambda *_: None
) -> tuple[Packing | None, str]:
    """Returns the format in which the matmul backend takes weights, and a phrase that describes the backend.

    The format is None if the backend takes weights in the layout of the decoder.

    Args:
        engine: settings.
        placement: devices of the model.
        folder: folder for built kernels; None builds them for this process alone.
        report: called when kernels are built.

    Raises:
        ValueError: int8 weights on several devices.
    """
    rounded = engine.quantize == "int8"
    if rounded and placement.mesh.size > 1:
        raise ValueError(f"quantize int8 serves one device, tensor_parallel is {placement.mesh.size}")
    targets, phrase = matmul_calls(engine, placement, folder, report)
    if rounded:
        return Rounded(targets), f"of int8 {phrase}"
    return (Native(targets) if targets else None), phrase


def matmul_calls(
    engine: EngineConfig, placement: Placement, folder: Path | None, report: Report = lambda *_: None
) -> tuple[dict[str, str], str]:
    """Returns the custom calls for matrix products by dtype, empty if XLA multiplies, and a phrase for the backend.

    Args:
        engine: settings.
        placement: devices of the model.
        folder: folder for built kernels; None builds them for this process alone.
        report: called when kernels are built.
    """
    if reason := _xla_reason(engine, placement):
        return {}, reason
    try:
        if is_built(folder):
            return native_matmuls(folder), "by kernels in C++"
        report("building kernels", 0, 1)
        calls = native_matmuls(folder)
        report("building kernels", 1, 1)
        return calls, "by kernels in C++"
    except NativeError as error:
        logger.warning("matrix products are left to XLA, which is slower for few rows: %s", error)
        return {}, f"by XLA: {error}"


def select_attention(engine: EngineConfig, model: ModelConfig, placement: Placement, folder: Path | None) -> Choice:
    """Returns the attention backends for the platform of this process, with the reason for them.

    Args:
        engine: settings.
        model: the padded model.
        placement: devices of the model.
        folder: as for `matmul_calls`.

    Raises:
        RegistryError: the name in `engine.attention` is not registered.
        ValueError: the backend of that name cannot serve the model.
    """
    return choose_attention(
        engine, model, placement, jax.default_backend(), _attention_calls(engine, placement, folder)
    )


def _attention_calls(engine: EngineConfig, placement: Placement, folder: Path | None) -> dict[str, str]:
    """Returns the custom calls for attention by dtype, empty if XLA computes matrix products."""
    if _xla_reason(engine, placement):
        return {}
    try:
        return native_attention(folder)
    except NativeError:
        return {}


def _xla_reason(engine: EngineConfig, placement: Placement) -> str:
    if jax.default_backend() != "cpu":
        return "by XLA"
    if engine.cpu_matmul == "xla":
        return "by XLA, as configured"
    return "by XLA: the kernels in C++ serve one device" if placement.mesh.size > 1 else ""
