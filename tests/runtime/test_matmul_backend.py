"""Which kernels multiply, on platforms that are not at hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from jaxchat.config import EngineConfig, MeshConfig
from jaxchat.kernels.matmul.weight_only import WeightLayout
from jaxchat.kernels.matmul.weight_only_build import shapes_of_rows
from jaxchat.parallel.mesh import Placement
from jaxchat.planning.model_shapes import read_shape
from jaxchat.quantised import imagined_rows
from jaxchat.runtime import matmul_backend
from jaxchat.runtime.weight_only_packing import WeightOnlyPacking, WeightOnlyRows

MODEL = read_shape("llama-3.2-1b")


@pytest.mark.parametrize(
    ("settings", "devices", "rows", "phrase"),
    [
        ({"quantize": "int4"}, 1, 64, "of int4 by XLA"),  # and the kernel, which is named once weights are packed
        ({"quantize": "int8"}, 1, 0, "of int8 by XLA"),  # which reads the codes alone
        ({"quantize": "int4", "dtype": "float32"}, 1, 0, "of int4 by XLA"),
        ({"quantize": "int4"}, 2, 0, "of int4 by XLA"),  # XLA cannot divide the kernel
    ],
)
def test_on_a_gpu_a_kernel_multiplies_few_rows_by_weights_in_groups(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], devices: int, rows: int, phrase: str
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(matmul_backend, "_fused_rows", lambda: 64)
    engine = EngineConfig(**{"dtype": "bfloat16", **settings})
    placement = Placement.imagined(MeshConfig(tensor=devices), MODEL)
    packing, said = matmul_backend.choose_packing(engine, placement, None)
    assert isinstance(packing, WeightOnlyPacking)
    assert (packing.layout.fused_rows, said) == (rows, phrase)


def test_stored_weights_in_groups_get_the_kernel_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(matmul_backend, "_fused_rows", lambda: 128)
    layout = matmul_backend.choose_rows(EngineConfig(dtype="bfloat16"), Placement.imagined(MeshConfig(), MODEL), None)
    assert isinstance(layout, WeightOnlyRows) and layout.fused_rows == 128


@pytest.mark.parametrize(("bits", "group", "rows"), [(4, 32, 128), (8, 1024, 0)])
def test_only_weights_that_the_kernel_can_multiply_get_it(bits: int, group: int, rows: int) -> None:
    layout = WeightOnlyRows(Placement.imagined(MeshConfig(), MODEL), "bfloat16", 128)
    shapes = shapes_of_rows([imagined_rows((64, 1024), bits, group)], WeightLayout((64,)), jnp.dtype("bfloat16"))
    assert layout.with_kernel(shapes).fused_rows == rows
    assert layout.used == {rows}
