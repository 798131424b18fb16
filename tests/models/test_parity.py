"""Our logits against the `transformers` implementation on the same checkpoint."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from jaxchat import bundled
from jaxchat.kernels.reference import causal
from jaxchat.models.config import read_config
from jaxchat.models.decoder import Decoder
from jaxchat.models.weights import load_hf, save_hf
from tests.models import checkpoints

TOKENS = np.random.default_rng(1).integers(0, 199, 150).tolist()
CASES = {
    "llama3": ("Llama", dict(rope_parameters=checkpoints.LLAMA3_ROPE, rms_norm_eps=1e-5)),
    "llama-yarn-tied": ("Llama", dict(rope_parameters=checkpoints.YARN_ROPE, tie_word_embeddings=True)),
    "llama-linear-biases": (
        "Llama",
        dict(rope_parameters=checkpoints.LINEAR_ROPE, attention_bias=True, mlp_bias=True, head_dim=16),
    ),
    "qwen2-tied": ("Qwen2", dict(tie_word_embeddings=True)),
    "qwen2-multi-head": ("Qwen2", dict(num_key_value_heads=8)),
}


def our_logits(directory: Path, tokens: list[int], dtype: str = "float32") -> np.ndarray:
    config = read_config(directory)
    params, _ = load_hf(directory, config, dtype=dtype)
    decoder = Decoder(config)
    ids = jnp.array(tokens)
    hidden = decoder.apply({"params": params}, ids, jnp.arange(len(tokens)), attend=causal)
    return np.asarray(decoder.apply({"params": params}, hidden, method=Decoder.logits))


@pytest.mark.parametrize("case", CASES)
def test_logits_agree_with_transformers(tmp_path: Path, case: str) -> None:
    kind, changes = CASES[case]
    expected = checkpoints.logits(checkpoints.write(tmp_path, kind, **changes), TOKENS)
    ours = our_logits(tmp_path, TOKENS)
    assert np.abs(ours - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_bundled_checkpoint_agrees_with_transformers() -> None:
    directory = bundled.path()
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    tokens = np.random.default_rng(2).integers(0, read_config(directory).vocab_size, 300).tolist()
    expected = checkpoints.logits(model, tokens)
    assert np.abs(our_logits(directory, tokens) - expected).max() < 1e-4 * np.abs(expected).max()


def test_bfloat16_stays_close(tmp_path: Path) -> None:
    expected = checkpoints.logits(checkpoints.write(tmp_path, "Qwen2"), TOKENS)
    ours = our_logits(tmp_path, TOKENS, "bfloat16")
    assert np.abs(ours - expected).max() < 0.03 * np.abs(expected).max()


def test_sharded_files_give_the_same_arrays(tmp_path: Path) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    checkpoints.write(one, "Llama")
    checkpoints.write(many, "Llama", shard="100KB")
    assert len(list(many.glob("*.safetensors"))) > 1
    np.testing.assert_array_equal(our_logits(one, TOKENS[:9]), our_logits(many, TOKENS[:9]))


def test_saving_and_loading_changes_nothing(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, "Qwen2")
    config = read_config(tmp_path)
    before = our_logits(tmp_path, TOKENS[:9])
    params, _ = load_hf(tmp_path, config)
    save_hf(params, config, tmp_path, dtype="float32")
    np.testing.assert_array_equal(before, our_logits(tmp_path, TOKENS[:9]))
