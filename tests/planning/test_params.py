"""Planned parameters have the shapes and dtypes of loaded ones, whatever form the weights are stored in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxchat.checkpoints.find_model import find_model
from jaxchat.checkpoints.safetensors import SafetensorsReader
from jaxchat.checkpoints.stored_config import read_stored_config
from jaxchat.checkpoints.tensor_slices import TensorSlice
from jaxchat.config import EngineConfig
from jaxchat.parallel.mesh import Placement
from jaxchat.planning.cost_model import bytes_per_device
from jaxchat.planning.model_shapes import read_model
from jaxchat.planning.params import planned_params
from jaxchat.planning.stored_forms import stored_in_config
from jaxchat.runtime import matmul_backend
from jaxchat.runtime.parameters import load_parameters
from tests import tiny
from tests.checkpoints.gguf import tiny_gguf
from tools.parity.forms.cases import CASES
from tools.parity.forms.writers import save

NAME, SHAPE = "model.layers.0.mlp.up_proj", (64, 128)
KINDS = {
    "attn_v.weight": "Q8_0",  # other bits than queries and keys
    "ffn_down.weight": "Q5_1",
    "token_embd.weight": "Q5_0",
    "ffn_up.weight": "F16",  # the gate is not
    "norm.weight": "F32",
    "weight": "Q4_0",
}


@pytest.mark.parametrize("name", CASES)
def test_a_form_is_known_from_its_configuration(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    tensors, _ = case.write(np.random.default_rng(0), NAME, *SHAPE)
    save(tmp_path, tensors, case.quantization)
    part = TensorSlice(f"{NAME}.weight", SHAPE, SHAPE[::-1], transposed=True)
    stored = SafetensorsReader(tmp_path).quantised(part)
    dtype = next((str(array.dtype) for end, array in tensors.items() if "scale" in end), "float16")
    imagined = stored_in_config({"quantization_config": case.quantization, "dtype": dtype})(part)
    assert (imagined is None) == (stored is None)
    if stored is not None and imagined is not None:
        assert imagined.form == stored.form and imagined.shape == stored.shape
        assert (imagined.order is None) == (stored.order is None)


@pytest.mark.parametrize(
    "name", ["model.embed_tokens.weight", "lm_head.weight", "model.norm.weight", "model.layers.0.self_attn.q_proj.bias"]
)
def test_other_tensors_count_as_they_are(name: str) -> None:
    for case in CASES.values():
        shape = SHAPE if name.endswith(("head.weight", "tokens.weight")) else SHAPE[:1]
        assert stored_in_config({"quantization_config": case.quantization})(TensorSlice(name, shape, shape)) is None


def test_a_quantised_embedding_counts_in_its_codes() -> None:
    quantization = dict(CASES["compressed, W4A16"].quantization)
    groups = {"a": dict(quantization["config_groups"]["group_0"], targets=["Embedding"])}
    stored = stored_in_config({"quantization_config": quantization | {"config_groups": groups}})
    rows = stored(TensorSlice("model.embed_tokens.weight", SHAPE, SHAPE))
    assert rows is not None and rows.shape == SHAPE and (rows.bits, rows.group) == (4, 32)
    assert stored(TensorSlice(f"{NAME}.weight", SHAPE, SHAPE[::-1], transposed=True)) is None


def test_experts_of_gpt_oss_count_in_their_codes() -> None:
    shape = (4, 128, 64)
    part = TensorSlice("model.layers.0.mlp.experts.down_proj", shape, (1, 128, 64), rows=(1, 2))
    rows = stored_in_config({"quantization_config": {"quant_method": "mxfp4"}})(part)
    assert rows is not None and rows.shape == (64, 128) and (rows.bits, rows.group) == (5, 32)


def described(params: Any) -> Any:
    return jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), params)


def agrees(folder: Path, model: str, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Any:
    """Asserts that a loaded model has the planned arrays, and returns them."""
    monkeypatch.setattr(matmul_backend, "weight_only", lambda placement: True)  # as on an accelerator
    engine, config = EngineConfig(cpu_matmul="xla", **settings), read_stored_config(folder)
    placement = Placement.create(engine.mesh, config)
    params, _, _ = load_parameters(folder, config, config, engine, placement)
    shape, stored = read_model(model)
    planned = planned_params(shape, shape, placement, engine, stored)
    assert described(planned) == described(params)
    return planned


def test_a_gguf_file_is_planned_as_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = tiny_gguf.write_checkpoint(tmp_path, intermediate_size=256)
    path = tiny_gguf.write_tiny(tmp_path / "tiny.gguf", original, kinds=KINDS)
    planned = agrees(find_model(str(path), str(tmp_path / "cache")), str(path), monkeypatch)
    down = planned["layer_0"]["mlp"]["down"]
    assert bytes_per_device(down.codes) == 64 * 256  # codes of 5 bits in bytes
    out = planned["layer_0"]["attention"]["out"]
    assert bytes_per_device(out) == 64 * 64 // 2 + 2 * 64 * 64 // 32  # 4 bits, and an f16 for each 32


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_rounded_weights_are_planned_as_they_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantize: str
) -> None:
    folder = tiny.write(tmp_path / "model", hidden_size=64)
    agrees(folder, str(folder), monkeypatch, quantize=quantize, dtype="bfloat16")
