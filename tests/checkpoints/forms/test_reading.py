"""Quantised weights are read bit for bit as their formats define them, whole and in part, widened and as stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jaxchat.checkpoints.safetensors import SafetensorsReader
from jaxchat.checkpoints.tensor_slices import TensorSlice
from tools.parity.forms.cases import CASES
from tools.parity.forms.writers import FLOAT8, Case, gptq, save

MODULE, SHAPE = "model.layers.0.mlp.up_proj", (72, 192)


def written(directory: Path, case: Case, shape: tuple[int, int] = SHAPE) -> tuple[SafetensorsReader, np.ndarray]:
    tensors, weight = case.write(np.random.default_rng(0), MODULE, *shape)
    save(directory, tensors | {"model.norm.weight": np.ones(3, np.float32)}, case.quantization)
    return SafetensorsReader(directory), weight


def part(rows: tuple[int, int] | None = None, shape: tuple[int, int] = SHAPE) -> TensorSlice:
    count = rows[1] - rows[0] if rows else shape[0]
    return TensorSlice(f"{MODULE}.weight", shape, (shape[1], count), transposed=True, rows=rows)


@pytest.mark.parametrize("name", CASES)
def test_a_weight_is_what_its_form_defines(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    reader, weight = written(tmp_path, case)
    assert set(reader.files) == {f"{MODULE}.weight", "model.norm.weight"}
    reader.check(part())
    for rows in (None, (0, 24), (5, 61), (71, 72)):
        read = reader.read(part(rows))
        expected = weight if rows is None else weight[slice(*rows)]
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, expected)
        stored = reader.quantised(part(rows))
        assert (stored is None) == (case.bits is None)
        if stored is not None:
            assert stored.bits == case.bits and (stored.order is not None) == case.order
            np.testing.assert_array_equal(stored.dequantised(), expected)


def test_other_tensors_are_read_as_they_are(tmp_path: Path) -> None:
    reader, _ = written(tmp_path, gptq())
    norm = TensorSlice("model.norm.weight", (3,), (3,))
    assert reader.quantised(norm) is None
    np.testing.assert_array_equal(reader.read(norm), np.ones(3))


def test_groups_that_no_kernel_has_are_widened(tmp_path: Path) -> None:
    reader, weight = written(tmp_path, gptq(group=24))
    assert reader.quantised(part()) is None
    np.testing.assert_array_equal(reader.read(part()), weight)


def test_a_zero_point_of_zero_was_subtracted_from_the_whole_word(tmp_path: Path) -> None:
    """As GPTQModel converts: 0 less one borrows from the next zero point, and adding it again restores both."""
    case = gptq(sym=False, version=2)
    tensors, _ = case.write(np.random.default_rng(0), MODULE, *SHAPE)
    zeros = f"{MODULE}.qzeros"
    tensors[zeros] = tensors[zeros] & ~0xF  # the first of each eight is 0
    save(tmp_path, tensors, case.quantization)
    expected = SafetensorsReader(tmp_path).read(part())
    tensors[zeros] = (tensors[zeros].view(np.uint32) - np.uint32(0x11111111)).view(np.int32)
    save(tmp_path, tensors, gptq(sym=False).quantization)
    np.testing.assert_array_equal(SafetensorsReader(tmp_path).read(part()), expected)


@pytest.mark.parametrize("scales", [(3, 2, 2), (3, 1, 1), (3,), (3, 72, 1), (1,)])
def test_experts_of_floats_in_one_tensor(tmp_path: Path, scales: tuple[int, ...]) -> None:
    rng, name = np.random.default_rng(0), "model.layers.0.mlp.experts.gate_up_proj"
    floats = rng.standard_normal((3, *SHAPE)).astype(FLOAT8)
    factors = rng.uniform(1, 2, scales).astype(np.float32)
    tensors = {name: floats, f"{name}_scale_inv": factors}
    save(tmp_path, tensors, dict(quant_method="fp8", weight_block_size=[64, 128]))
    factors = factors.reshape(3, 1, 1) if scales == (3,) else factors
    if scales == (3, 2, 2):
        factors = factors[:, np.arange(72) // 64][:, :, np.arange(192) // 128]
    expected = floats.astype(np.float32) * factors
    reader = SafetensorsReader(tmp_path)
    for rows in (None, (0, 1), (2, 3)):
        read = reader.read(TensorSlice(name, (3, *SHAPE), (3, *SHAPE), rows=rows))
        np.testing.assert_array_equal(read, expected if rows is None else expected[slice(*rows)])


def test_weights_of_several_sizes_of_codes(tmp_path: Path) -> None:
    """GPTQModel's `dynamic` gives some modules other settings; shapes tell which."""
    (first, four), (second, eight) = (
        case.write(np.random.default_rng(0), module, *SHAPE)
        for case, module in ((gptq(4, 32), MODULE), (gptq(8, 64), "model.layers.1.mlp.up_proj"))
    )
    save(tmp_path, first | second, gptq().quantization | {"dynamic": {"+:.*1.*": {"bits": 8, "group_size": 64}}})
    reader = SafetensorsReader(tmp_path)
    np.testing.assert_array_equal(reader.read(part()), four)
    other = TensorSlice("model.layers.1.mlp.up_proj.weight", SHAPE, SHAPE[::-1], transposed=True)
    np.testing.assert_array_equal(reader.read(other), eight)
