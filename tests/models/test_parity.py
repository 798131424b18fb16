"""Our logits against the `transformers` implementation on the same checkpoint."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from jaxchat import bundled
from jaxchat.checkpoints.huggingface import load_hf, save_hf
from jaxchat.checkpoints.stored_config import read_stored_config
from jaxchat.kernels.attention.reference import causal
from jaxchat.models.decoder import Decoder
from jaxchat.models.families import read_config
from tests.exhaustive import mostly_exhaustive
from tools.parity import checkpoints, measure

DIFFERENT = [  # in their layers, not only in sizes
    "llama 3",
    "qwen 2",
    "qwen 3",
    "qwen 3 with experts, shares",
    "mixtral",
    "gemma 2",
    "gemma 3",
    "gemma 4, shared keys",
    "gemma 4 with experts",
    "phi 3",
    "gpt-oss",
    "olmo 2",
    "granite 3",
    "command r7b",
    "glm 4",
]
TOKENS = np.random.default_rng(1).integers(0, 199, 150).tolist()


def our_logits(directory: Path, tokens: list[int], dtype: str = "float32") -> np.ndarray:
    config = read_stored_config(directory)
    params, _ = load_hf(directory, config, dtype=dtype)
    decoder = Decoder(config)
    ids = jnp.array(tokens)
    hidden = decoder.apply({"params": params}, ids, jnp.arange(len(tokens)), attend=causal)
    return np.asarray(decoder.apply({"params": params}, hidden, method=Decoder.logits))


@pytest.mark.parametrize("case", mostly_exhaustive(checkpoints.CASES, DIFFERENT))
def test_prefill_and_decode_agree_with_transformers(tmp_path: Path, case: str) -> None:
    model = checkpoints.write(tmp_path, case)
    actual = measure.difference(measure.recording_runner(tmp_path), model)
    assert actual.prefill < 1e-4 and actual.decode < 1e-4


def test_the_bundled_checkpoint_agrees_with_transformers() -> None:
    directory = bundled.path()
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    tokens = np.random.default_rng(2).integers(0, read_config(directory).vocab_size, 300).tolist()
    expected = checkpoints.logits(model, tokens)
    assert np.abs(our_logits(directory, tokens) - expected).max() < 1e-4 * np.abs(expected).max()


def test_bfloat16_stays_close(tmp_path: Path) -> None:
    expected = checkpoints.logits(checkpoints.write(tmp_path, "qwen 2"), TOKENS)
    ours = our_logits(tmp_path, TOKENS, "bfloat16")
    assert np.abs(ours - expected).max() < 0.03 * np.abs(expected).max()


def test_sharded_files_give_the_same_arrays(tmp_path: Path) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    checkpoints.write(one, "llama 3")
    checkpoints.write(many, "llama 3", shard="100KB")
    assert len(list(many.glob("*.safetensors"))) > 1
    np.testing.assert_array_equal(our_logits(one, TOKENS[:9]), our_logits(many, TOKENS[:9]))


@pytest.mark.parametrize("case", ["qwen 2", "phi 3", "gemma 3", "gemma 4 with experts", "mixtral"])
def test_saving_and_loading_changes_nothing(tmp_path: Path, case: str) -> None:
    checkpoints.write(tmp_path, case)
    config = read_config(tmp_path)
    before, _ = load_hf(tmp_path, config)
    save_hf(before, config, tmp_path, dtype="float32")
    after, _ = load_hf(tmp_path, config)
    jax.tree.map(np.testing.assert_array_equal, before, after)
