"""Selects the attention backend and the matmul backend: C++ kernels on a CPU that supports them, otherwise XLA."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import jax

from jaxchat.config import EngineConfig
from jaxchat.kernels.attention.cpu_native import native_attention
from jaxchat.kernels.attention.select import Selection
from jaxchat.kernels.cpp.build import NativeError, is_built
from jaxchat.kernels.matmul import grouped
from jaxchat.kernels.matmul.grouped import native_grouped
from jaxchat.kernels.matmul.native import native_matmuls
from jaxchat.models.config import ModelConfig
from jaxchat.parallel.mesh import Placement
from jaxchat.runtime.program_specs import choose_attention
from jaxchat.runtime.stored_packing import PanelRows, RowsPacking
from jaxchat.runtime.weight_only_packing import WeightOnlyPacking, WeightOnlyRows
from jaxchat.runtime.weight_packing import Int4Packing, Int8Packing, Packing, PanelPacking
from jaxchat.types import Report

logger = logging.getLogger(__name__)
T = TypeVar("T")


def choose_packing(
    engine: EngineConfig, placement: Placement, folder: Path | None, report: Report = lambda *_: None
) -> tuple[Packing | WeightOnlyPacking | None, str]:
    """Returns the packing of weights for the matmul backend, and a phrase that describes the backend.

    The packing is None if the backend takes weights as the decoder defines them.

    Args:
        engine: settings.
        placement: devices of the model.
        folder: folder for built kernels; None builds them for this process alone.
        report: called with the progress if kernels are built.
    """
    if engine.quantize and weight_only(placement):
        layout, reason = _weight_only_rows(engine, placement), _xla_reason(engine, placement)
        return WeightOnlyPacking(layout, engine.quantize), f"of {engine.quantize} {reason}"
    targets, phrase = matmul_calls(engine, placement, folder, report)
    if engine.quantize == "int8":
        return Int8Packing(targets), f"of int8 {phrase}"
    if engine.quantize == "int4":
        return Int4Packing(grouped_call(engine, placement, folder, report)), f"of int4 {phrase}"
    return (PanelPacking(targets) if targets else None), phrase


def choose_rows(
    engine: EngineConfig, placement: Placement, folder: Path | None, report: Report = lambda *_: None
) -> RowsPacking:
    """Returns the layout that weights have on the devices if they are stored as quantised rows.

    Arguments are those of `choose_packing`.
    """
    if weight_only(placement):
        return _weight_only_rows(engine, placement)
    targets, _ = matmul_calls(engine, placement, folder, report)
    return PanelRows(engine.dtype, grouped_call(engine, placement, folder, report), targets)


def _weight_only_rows(engine: EngineConfig, placement: Placement) -> WeightOnlyRows:
    # XLA cannot divide a kernel over devices. With int8 each row has one scale, and XLA reads only the codes.
    fused = jax.default_backend() == "gpu" and placement.mesh.size == 1 and engine.dtype == "bfloat16"
    return WeightOnlyRows(placement, engine.dtype, _fused_rows() if fused and engine.quantize != "int8" else 0)


@cache
def _fused_rows() -> int:
    from jaxchat.kernels.matmul.gpu_trial import most_rows  # Pallas, which only a GPU needs

    return most_rows()


def weight_only(placement: Placement) -> bool:
    """Returns whether quantised weights have the layout of dense weights: on accelerators and on several devices."""
    return jax.default_backend() != "cpu" or placement.mesh.size > 1


def matmul_calls(
    engine: EngineConfig, placement: Placement, folder: Path | None, report: Report = lambda *_: None
) -> tuple[dict[str, str], str]:
    """Returns the names of the custom calls for matrix products, and a phrase that describes the backend.

    The names are keyed by the dtype of the weights. There are none if XLA multiplies.

    Args:
        engine: settings.
        placement: devices of the model.
        folder: folder for built kernels; None builds them for this process alone.
        report: called with the progress if kernels are built.
    """
    if reason := _xla_reason(engine, placement):
        return {}, reason
    try:
        return _reported(partial(native_matmuls, folder), is_built(folder), report), "by kernels in C++"
    except NativeError as error:
        logger.warning("matrix products are left to XLA, which is slower for few rows: %s", error)
        return {}, f"by XLA: {error}"


def grouped_call(
    engine: EngineConfig, placement: Placement, folder: Path | None, report: Report = lambda *_: None
) -> str:
    """Returns the name of the custom call for products with weights in groups. Empty if XLA multiplies.

    Args:
        engine: settings.
        placement: devices of the model.
        folder: folder for built kernels; None builds them for this process alone.
        report: called with the progress if kernels are built.
    """
    if _xla_reason(engine, placement):
        return ""
    try:
        return _reported(partial(native_grouped, folder), is_built(folder, grouped.PART), report)
    except NativeError as error:
        logger.warning("products with quantised weights are left to XLA, which is much slower: %s", error)
        return ""


def _reported(build: Callable[[], T], built: bool, report: Report) -> T:
    """Returns what `build` returns. Reports the progress if the kernels are not built yet."""
    if built:
        return build()
    report("building kernels", 0, 1)
    calls = build()
    report("building kernels", 1, 1)
    return calls


def select_attention(engine: EngineConfig, model: ModelConfig, placement: Placement, folder: Path | None) -> Selection:
    """Returns the attention backends for the platform of this process, with the reason for them.

    Args:
        engine: settings.
        model: the padded model.
        placement: devices of the model.
        folder: folder for built kernels; None builds them for this process alone.

    Raises:
        RegistryError: the name in `engine.attention` is not registered.
        ValueError: the backend of that name, or for "auto" every backend, cannot serve the model.
    """
    return choose_attention(
        engine, model, placement, jax.default_backend(), _attention_calls(engine, placement, folder)
    )


def _attention_calls(engine: EngineConfig, placement: Placement, folder: Path | None) -> dict[str, str]:
    """Returns the names of the custom calls for attention, by dtype.

    There are none if XLA computes matrix products or the C++ kernels cannot be built.
    """
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
