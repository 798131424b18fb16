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
    renamed(tmp_path, lambda name: name.replace("0.self_attn.q_proj.weight", "0.self_attn.q_proj.qweight"))
    message = r"layers\.0\.self_attn\.q_proj\.weight is missing .*, which have model\.layers\.0\.self_attn\.q_proj\.qw"
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
