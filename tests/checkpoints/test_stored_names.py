"""Checkpoints whose names or head are not those that `config.json` makes one expect."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from jaxchat.checkpoints.convert import convert
from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.checkpoints.orbax import restore_orbax
from jaxchat.checkpoints.stored_config import read_stored_config
from jaxchat.errors import ModelError
from jaxchat.models.families import read_config
from tests.models.test_parity import TOKENS, our_logits
from tools.parity import checkpoints

Rename = Callable[[str], str]
WEIGHTS = "model.safetensors"


def reference(directory: Path) -> np.ndarray:
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    return checkpoints.logits(model.eval(), TOKENS)


def renamed(directory: Path, rename: Rename) -> None:
    tensors = {rename(name): value for name, value in load_file(directory / WEIGHTS).items()}
    save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})


def with_tensors(directory: Path, **tensors: np.ndarray) -> None:
    values = {name.replace("__", "."): value for name, value in tensors.items()}
    save_file({**load_file(directory / WEIGHTS), **values}, directory / WEIGHTS, metadata={"format": "pt"})


@pytest.mark.parametrize("case", ["qwen 3", "gemma 2", "smollm 3", "llama, yarn, tied"])
def test_a_different_head_of_a_tied_model_is_used(tmp_path: Path, case: str) -> None:
    checkpoints.write(tmp_path, case)
    other = np.random.default_rng(4).normal(size=(199, 64)).astype(np.float32)
    with_tensors(tmp_path, lm_head__weight=other)
    assert not read_stored_config(tmp_path).tie_embeddings
    expected = reference(tmp_path)
    assert np.abs(our_logits(tmp_path, TOKENS) - expected).max() < 1e-4 * np.abs(expected).max()
    with pytest.raises(ModelError, match=r"lm_head\.weight differs from the embedding.*tie_word_embeddings"):
        load_hf(tmp_path, read_config(tmp_path))


def test_a_head_that_differs_in_its_last_row_is_used(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, "qwen 3")
    other = load_file(tmp_path / WEIGHTS)["model.embed_tokens.weight"].copy()
    other[-1, -1] += 1
    with_tensors(tmp_path, lm_head__weight=other)
    assert not read_stored_config(tmp_path).tie_embeddings


def test_a_different_head_survives_conversion(tmp_path: Path) -> None:
    source, native = tmp_path / "source", tmp_path / "native"
    checkpoints.write(source, "qwen 3")
    with_tensors(source, lm_head__weight=np.ones((199, 64), np.float32))
    convert(source, native)
    config = read_stored_config(native)
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    restored, _ = restore_orbax(native, config, dtype="float32", sharding=lambda spec: one)
    jax.tree.map(np.testing.assert_array_equal, restored, load_hf(source, read_stored_config(source))[0])


RENAMED: dict[str, tuple[str, Rename]] = {
    "torch.compile": ("llama 3", lambda name: f"_orig_mod.{name}"),
    "torch.compile of each layer": ("llama 3", lambda name: name.replace(".self_attn", "._orig_mod.self_attn")),
    "data parallel": ("llama 3", lambda name: f"module.{name}"),
    "both": ("llama 3", lambda name: f"module._orig_mod.{name}"),
    "PEFT": ("llama 3", lambda name: f"base_model.model.{name}"),
    "without its prefix": ("qwen 3", lambda name: name.removeprefix("model.")),
    "without its prefix, but with a head": ("llama 3", lambda name: name.removeprefix("model.")),
    "text part": ("llama 3", lambda name: f"language_model.{name}"),
    "text part of version 5": ("qwen 3", lambda name: name.replace("model.", "model.language_model.")),
    "experts": ("mixtral", lambda name: f"module.{name}"),
}


@pytest.mark.parametrize("kind", RENAMED)
def test_prefixes_of_wrappers_change_nothing(tmp_path: Path, kind: str) -> None:
    case, rename = RENAMED[kind]
    checkpoints.write(tmp_path, case)
    expected, _ = load_hf(tmp_path, read_config(tmp_path))
    renamed(tmp_path, rename)
    jax.tree.map(np.testing.assert_array_equal, expected, load_hf(tmp_path, read_stored_config(tmp_path))[0])


def test_a_head_in_the_text_part_of_gemma_3_is_read(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, "gemma 3")
    renamed(tmp_path, lambda name: f"language_model.{name}")
    other = np.random.default_rng(4).normal(size=(199, 64)).astype(np.float32)
    with_tensors(tmp_path, language_model__lm_head__weight=other)
    params, _ = load_hf(tmp_path, read_stored_config(tmp_path))
    np.testing.assert_array_equal(params["head"], other.T)


def test_one_parameter_under_two_names_is_refused(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, "llama 3")
    with_tensors(tmp_path, module__model__norm__weight=np.ones(64, np.float32))
    with pytest.raises(ModelError, match=r"model\.norm\.weight are stored for the same parameter"):
        load_hf(tmp_path, read_config(tmp_path))


def test_a_missing_tensor_is_named_beside_those_most_like_it(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, "llama 3")
    renamed(tmp_path, lambda name: name.replace("0.self_attn.q_proj.weight", "0.self_attn.q_proj.data"))
    message = r"layers\.0\.self_attn\.q_proj\.weight is missing .*, which have model\.layers\.0\.self_attn\.q_proj\.da"
    with pytest.raises(ModelError, match=message):
        load_hf(tmp_path, read_config(tmp_path))


def test_a_checkpoint_of_another_kind_shows_its_names(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, "llama 3")
    renamed(tmp_path, lambda name: name.replace("model.", "transformer.wrapped."))
    with pytest.raises(ModelError, match=r"which have .*transformer\.wrapped\."):
        load_hf(tmp_path, read_config(tmp_path))


def test_an_index_lists_names_as_they_are_stored(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, "llama 3")
    expected, _ = load_hf(tmp_path, read_config(tmp_path))
    renamed(tmp_path, lambda name: f"module.{name}")
    names = dict.fromkeys(load_file(tmp_path / WEIGHTS), WEIGHTS)
    (tmp_path / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": names}))
    jax.tree.map(np.testing.assert_array_equal, expected, load_hf(tmp_path, read_config(tmp_path))[0])


FUSED = dict(num_experts_per_tok=2, num_hidden_layers=2)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("Qwen3Moe", dict(FUSED, num_experts=4, moe_intermediate_size=24, head_dim=16)),
        ("Mixtral", dict(FUSED, num_local_experts=4)),
    ],
)
def test_experts_in_one_tensor_as_version_5_holds_them(tmp_path: Path, kind: str, changes: dict) -> None:
    model = checkpoints.write_model(tmp_path / "each", kind, **changes)
    model.save_pretrained(tmp_path / "fused", save_original_format=False)
    assert any(name.endswith("experts.gate_up_proj") for name in load_file(tmp_path / "fused" / WEIGHTS))
    each, fused = (load_hf(path, read_config(path))[0] for path in (tmp_path / "each", tmp_path / "fused"))
    jax.tree.map(np.testing.assert_array_equal, each, fused)


@pytest.mark.parametrize("tensor", ["qkv_proj", "gate_up_proj"])
def test_fused_tensors_of_phi_may_be_stored_apart(tmp_path: Path, tensor: str) -> None:
    checkpoints.write(tmp_path, "phi 3")
    expected, _ = load_hf(tmp_path, read_config(tmp_path))
    tensors: dict[str, np.ndarray] = {}
    for name, value in load_file(tmp_path / WEIGHTS).items():
        if "qkv_proj" in name:
            rows = np.split(value, [64, 80])  # 8 query heads and 2 KV heads of 8
            tensors |= {name.replace("qkv", part): array for part, array in zip("qkv", rows, strict=True)}
        elif "gate_up_proj" in name:
            halves = zip(("gate", "up"), np.split(value, 2), strict=True)
            tensors |= {name.replace("gate_up", part): array for part, array in halves}
        else:
            tensors[name] = value
    missing = tensors.pop(f"model.layers.1.{'self_attn.q' if tensor == 'qkv_proj' else 'mlp.up'}_proj.weight")
    save_file(tensors, tmp_path / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"layers\.1\..*(q|up)_proj\.weight is missing"):  # in the form that is stored
        load_hf(tmp_path, read_config(tmp_path))
    name = "self_attn__q" if tensor == "qkv_proj" else "mlp__up"
    with_tensors(tmp_path, **{f"model__layers__1__{name}_proj__weight": missing})
    jax.tree.map(np.testing.assert_array_equal, expected, load_hf(tmp_path, read_config(tmp_path))[0])


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.k_scale",
        "model.layers.0.self_attn.k_proj.k_scale",
        "model.layers.0.self_attn.v_proj.v_scale",
        "model.layers.0.self_attn.kv_scale",
        "v_head.summary.weight",
    ],
)
def test_scales_of_an_eight_bit_cache_and_value_heads_are_left_unread(tmp_path: Path, name: str) -> None:
    checkpoints.write(tmp_path, "llama 3")
    expected, _ = load_hf(tmp_path, read_config(tmp_path))
    with_tensors(tmp_path, **{name.replace(".", "__"): np.ones(1, np.float32)})
    jax.tree.map(np.testing.assert_array_equal, expected, load_hf(tmp_path, read_config(tmp_path))[0])


def test_tensors_of_awq_without_their_configuration_are_told(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, "llama 3")
    renamed(tmp_path, lambda name: name.replace("_proj.weight", "_proj.qweight"))
    message = (
        r"q_proj\.weight is stored as .*q_proj\.qweight, the form of AWQ and GPTQ, but .* lacks quantization_config"
    )
    with pytest.raises(ModelError, match=message):
        load_hf(tmp_path, read_config(tmp_path))


@pytest.mark.parametrize("tie", [None, False])
def test_a_missing_head_is_an_error_unless_it_is_tied(tmp_path: Path, tie: bool | None) -> None:
    """`transformers` draws a random head there."""
    checkpoints.write(tmp_path, "llama 3")
    tensors, file = load_file(tmp_path / WEIGHTS), tmp_path / "config.json"
    del tensors["lm_head.weight"]
    save_file(tensors, tmp_path / WEIGHTS, metadata={"format": "pt"})
    raw = {**json.loads(file.read_text()), "tie_word_embeddings": tie}
    file.write_text(json.dumps({key: value for key, value in raw.items() if value is not None}))
    with pytest.raises(ModelError, match=r"lm_head\.weight is missing .* set tie_word_embeddings to true"):
        load_hf(tmp_path, read_config(tmp_path))
    file.write_text(json.dumps({**raw, "tie_word_embeddings": True}))
    expected = reference(tmp_path)
    assert np.abs(our_logits(tmp_path, TOKENS) - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("case", ["llama 3", "qwen 3"])
def test_another_number_of_rows_than_vocab_size_is_told(tmp_path: Path, case: str) -> None:
    checkpoints.write(tmp_path, case)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "vocab_size": 200}))
    message = r"embed_tokens\.weight has 199 rows, but config\.json: vocab_size is 200"
    with pytest.raises(ModelError, match=message):
        load_hf(tmp_path, read_stored_config(tmp_path))
