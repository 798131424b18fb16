"""gpt-oss as published, in MXFP4, against the result of `transformers` for the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from jaxchat.cache import cache_folder
from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.checkpoints.safetensors import SafetensorsReader
from jaxchat.checkpoints.tensor_slices import TensorSlice
from jaxchat.config import MeshConfig
from jaxchat.errors import ModelError
from jaxchat.kernels.matmul.grouped import GroupedWeight, native_grouped
from jaxchat.kernels.matmul.packed import matmul_entry
from jaxchat.kernels.matmul.weight_only import WeightOnly
from jaxchat.models.families import read_config
from jaxchat.models.param_specs import param_specs
from jaxchat.parallel.mesh import Placement
from jaxchat.runtime.stored_packing import PanelRows, StoredPacking
from jaxchat.runtime.weight_only_packing import WeightOnlyRows
from tools.parity import checkpoints

FILE = "model.safetensors"
GATE_UP = "model.layers.0.mlp.experts.gate_up_proj"


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Writes a random checkpoint with packed experts; `tmp_path/plain` has the decoded weights."""
    checkpoints.write_model(
        tmp_path / "plain", "GptOss", num_local_experts=3, num_experts_per_tok=2, intermediate_size=96
    )
    weights, rng = load_file(tmp_path / "plain" / FILE), np.random.default_rng(0)
    stored = dict(weights)
    for name in [name for name in weights if name.endswith(("gate_up_proj", "down_proj")) and "experts" in name]:
        count, inputs, outputs = weights[name].shape
        blocks = rng.integers(0, 256, (count, outputs, inputs // 32, 16), np.uint8)
        scales = rng.integers(115, 135, blocks.shape[:-1], np.uint8)
        args = torch.from_numpy(blocks), torch.from_numpy(scales)
        weights[name] = convert_moe_packed_tensors(*args, dtype=torch.float32).numpy()
        del stored[name]
        stored |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
    save_file(weights, tmp_path / "plain" / FILE)
    save_file(stored, tmp_path / FILE)
    raw = json.loads((tmp_path / "plain" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(raw | dict(quantization_config=dict(quant_method="mxfp4"))))
    return tmp_path


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_packed_experts_are_those_of_transformers(packed: Path, dtype: str) -> None:
    expected, _ = load_hf(packed / "plain", read_config(packed / "plain"), dtype=dtype)
    actual, _ = load_hf(packed, read_config(packed), dtype=dtype)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_bfloat16_holds_packed_numbers_exactly(packed: Path) -> None:
    wide, narrow = (load_hf(packed, read_config(packed), dtype=dtype)[0] for dtype in ("float32", "bfloat16"))
    assert SafetensorsReader(packed).dtypes() == {"F32", "BF16"}
    for name in ("expert_gate_up", "expert_down"):
        np.testing.assert_array_equal(wide["layer_1"]["mlp"][name], narrow["layer_1"]["mlp"][name].astype("float32"))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("_scales", None, f"tensor {GATE_UP}_scales is missing"),
        ("_blocks", None, f"tensor {GATE_UP} is missing"),
        (
            "_scales",
            lambda weights: weights[:, :-1],
            f"tensor {GATE_UP}: blocks have shape .*, which do not fit each other",
        ),
        ("_blocks", lambda weights: weights[..., :-1], f"tensor {GATE_UP}: blocks have shape .*, which do not fit"),
        ("_scales", lambda weights: weights.astype(np.float32), f"tensor {GATE_UP}: blocks have dtype U8, scales F32"),
    ],
)
def test_damaged_halves_are_named(packed: Path, name: str, change, message: str) -> None:
    weights = load_file(packed / FILE)
    half = weights.pop(f"{GATE_UP}{name}")
    if change:
        weights[f"{GATE_UP}{name}"] = np.ascontiguousarray(change(half))
    save_file(weights, packed / FILE)
    with pytest.raises(ModelError, match=message):
        load_hf(packed, read_config(packed))


def test_codes_of_five_bits_hold_the_numbers_of_an_expert(packed: Path) -> None:
    reader = SafetensorsReader(packed)
    count, inputs, outputs = reader.shape(GATE_UP)
    for index in range(count):
        rows = (index, index + 1)
        part = TensorSlice(GATE_UP, (count, inputs, outputs), (1, inputs, outputs), rows=rows)
        stored = reader.quantised(part)
        assert stored is not None and stored.bits == 5
        np.testing.assert_array_equal(stored.dequantised().T, reader.read(part)[0])


@pytest.mark.parametrize("layout", ["native", "xla", "weight-only"])
def test_experts_that_are_kept_multiply_as_the_widened_ones(packed: Path, layout: str) -> None:
    config = read_config(packed)
    specs = param_specs(config)
    panels = PanelRows("float32", native_grouped(cache_folder()) if layout == "native" else "")
    weight_only = WeightOnlyRows(Placement.create(MeshConfig(), config), "float32")
    packing = StoredPacking(weight_only if layout == "weight-only" else panels)
    widened, _ = load_hf(packed, config)
    kept, _ = load_hf(packed, config, keep=lambda path, pieces: packing.pack(specs[path], pieces))
    for name in ("expert_gate_up", "expert_down"):
        stack, dense = kept["layer_0"]["mlp"][name], np.asarray(widened["layer_0"]["mlp"][name])
        assert isinstance(stack, WeightOnly if layout == "weight-only" else GroupedWeight)
        assert layout != "weight-only" or stack.codes.dtype == jnp.int32  # eight in a word
        x = np.random.default_rng(3).choice(np.float32([-127, 127]), (5, dense.shape[1]))  # rounding changes none
        for index, matrix in enumerate(dense):
            right = np.tensordot(x, matrix, 1)
            actual = jax.jit(matmul_entry)(x, stack, jnp.int32(index))
            assert np.abs(actual - right).max() < 1e-5 * np.abs(right).max()


def test_a_scale_that_is_not_a_number_is_named(packed: Path) -> None:
    weights = load_file(packed / FILE)
    weights[f"{GATE_UP}_scales"][1, 2, 0] = 255
    save_file(weights, packed / FILE)
    with pytest.raises(ModelError, match=f"{FILE}: tensor {GATE_UP}: a scale is not a number"):
        load_hf(packed, read_config(packed))
