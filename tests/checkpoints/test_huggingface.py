"""Orbax round trips, and errors that name what is wrong with a model directory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxchat.checkpoints import safetensors
from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.checkpoints.orbax import restore_orbax, save_orbax
from jaxchat.errors import ModelError
from jaxchat.models.families import from_hugging_face, read_config
from tests import tiny


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """Copies the tiny model, so that a test may damage it."""
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


def load(directory: Path) -> dict:
    return load_hf(directory, read_config(directory))[0]


def test_orbax_gives_back_the_same_arrays(model: Path) -> None:
    config = read_config(model)
    params, digest = load_hf(model, config)
    save_orbax(params, model, digest)
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    restored, again = restore_orbax(model, config, dtype="float32", sharding=lambda spec: one)
    assert again == digest
    jax.tree.map(np.testing.assert_array_equal, params, restored)


def test_the_digest_changes_with_any_weight(model: Path) -> None:
    config = read_config(model)
    before = load_hf(model, config)[1]
    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"] + np.float32(1e-6)
    save_file(tensors, model / "model.safetensors")
    assert load_hf(model, config)[1] != before


def test_files_that_are_opened_anew_while_they_are_read_give_the_same(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load(model)
    monkeypatch.setattr(safetensors, "MAPPED", 1000)
    jax.tree.map(np.testing.assert_array_equal, expected, load(model))


def test_a_missing_tensor_is_named(model: Path) -> None:
    tensors = load_file(model / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, model / "model.safetensors")
    with pytest.raises(ModelError, match=r"model\.layers\.1\.mlp\.up_proj\.weight"):
        load(model)


def test_a_tensor_of_another_shape_is_named(model: Path) -> None:
    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"] = np.ones(33, np.float32)
    save_file(tensors, model / "model.safetensors")
    with pytest.raises(ModelError, match=r"model\.norm\.weight.*\(33,\).*\(32,\)"):
        load(model)


def test_a_truncated_file_is_named(model: Path) -> None:
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(architectures=["MambaForCausalLM"]), "architecture MambaForCausalLM is not supported; supported: "),
        (dict(hidden_act="gelu"), "gelu"),
        (dict(rope_scaling={"rope_type": "longrope"}), "short_factor must be 4 numbers"),
        (dict(rope_scaling={"rope_type": "mrope"}), "rope type .mrope. is not supported"),
        (dict(num_key_value_heads=3), "3 KV heads"),
        (dict(hidden_size=None), "hidden_size"),
    ],
)
def test_a_configuration_that_would_compute_wrongly_is_refused(model: Path, change: dict, message: str) -> None:
    raw = {key: value for key, value in {**tiny.CONFIG, **change}.items() if value is not None}
    (model / "config.json").write_text(json.dumps(raw))
    with pytest.raises(ModelError, match=message):
        read_config(model)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json: not found"):
        read_config(tmp_path)
    with pytest.raises(ModelError, match=r"neither model\.safetensors nor"):
        load_hf(tmp_path, from_hugging_face(tiny.CONFIG))
