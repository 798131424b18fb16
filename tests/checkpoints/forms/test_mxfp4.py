"""gpt-oss as published, in MXFP4, against the result of `transformers` for the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.checkpoints.safetensors import SafetensorsReader
from jaxchat.errors import ModelError
from jaxchat.models.families import read_config
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


def test_other_quantised_forms_are_refused_by_name(packed: Path) -> None:
    raw = json.loads((packed / "config.json").read_text()) | dict(quantization_config=dict(quant_method="awq"))
    (packed / "config.json").write_text(json.dumps(raw))
    with pytest.raises(ModelError, match="quantization_config of method awq is not supported"):
        read_config(packed)
