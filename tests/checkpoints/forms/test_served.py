"""Models in quantised forms answer as their dequantised weights do in `transformers`, up to rounding of activations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from jaxchat.cache import cache_folder
from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.checkpoints.stored_config import read_stored_config
from jaxchat.kernels.attention.reference import causal
from jaxchat.kernels.matmul.grouped import GroupedWeight, native_grouped
from jaxchat.kernels.matmul.native import native_matmuls
from jaxchat.kernels.matmul.packed import JoinedWeight
from jaxchat.models.decoder import Decoder
from jaxchat.models.param_specs import param_specs
from jaxchat.planning.model_shapes import read_shape
from jaxchat.runtime.stored_packing import PanelRows, StoredPacking
from tools.parity import checkpoints
from tools.parity.forms import models
from tools.parity.forms.cases import CASES
from tools.parity.forms.writers import Case, Tensors, save

TOKENS = np.random.default_rng(1).integers(0, checkpoints.VOCAB, 20).tolist()
EXACT, ROUNDED = 1e-5, 0.05


def quantised_model(directory: Path, case: Case, kind: str = "Llama", **changes: Any) -> torch.nn.Module:
    sizes = dict(intermediate_size=128, num_hidden_layers=2)
    return models.quantised_model(directory, case, kind, **{**sizes, **changes})


def logits(directory: Path, keep: bool) -> tuple[np.ndarray, list[Any]]:
    """Returns logits, and the matrices of the layers, of which `keep` keeps the stored form."""
    config = read_stored_config(directory)
    specs = param_specs(config)
    packing = StoredPacking(PanelRows("float32", native_grouped(cache_folder()), native_matmuls(cache_folder())))
    kept = (lambda path, pieces: packing.pack(specs[path], pieces)) if keep else None
    params, _ = load_hf(directory, config, keep=kept)
    decoder = Decoder(config)

    @jax.jit
    def apply(params: Any, ids: jax.Array) -> jax.Array:
        hidden = decoder.apply({"params": params}, ids, jnp.arange(len(TOKENS)), attend=causal)
        return decoder.apply({"params": params}, hidden, method=Decoder.logits)

    attention, mlp = params["layer_0"]["attention"], params["layer_0"]["mlp"]
    rest = [weight for name, weight in mlp.items() if name.endswith(("gate_up", "down"))]
    return np.asarray(apply(params, jnp.array(TOKENS))), [attention["qkv"], attention["out"], *rest]


def difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """Returns the difference as a share of the length of all logits."""
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize(
    "name",
    [
        "gptq, activation order, asymmetric",
        "awq",
        "compressed, W4A16, asymmetric",
        "compressed, W8A8",
        "compressed, floats, channels",
        "fp8, blocks",
    ],
)
def test_logits_are_those_of_the_dequantised_model(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    expected = checkpoints.logits(quantised_model(tmp_path, case), TOKENS)
    read_shape(str(tmp_path))
    widened, _ = logits(tmp_path, keep=False)
    assert difference(widened, expected) < EXACT
    if case.bits:
        kept, weights = logits(tmp_path, keep=True)
        assert all(isinstance(weight, GroupedWeight) for weight in weights)
        assert EXACT < difference(kept, expected) < ROUNDED


def test_experts_are_kept_with_their_order_of_inputs(tmp_path: Path) -> None:
    experts = dict(num_experts=4, num_experts_per_tok=4, moe_intermediate_size=64, norm_topk_prob=True)  # all, always
    expected = checkpoints.logits(
        quantised_model(tmp_path, CASES["gptq, activation order"], "Qwen3Moe", **experts), TOKENS
    )
    widened, _ = logits(tmp_path, keep=False)
    assert difference(widened, expected) < EXACT
    kept, weights = logits(tmp_path, keep=True)
    assert [len(weight.order) for weight in weights] == [1, 1, 4, 4]
    assert EXACT < difference(kept, expected) < ROUNDED


def test_a_bias_of_zeros_that_the_model_lacks_is_ignored_and_others_are_not(tmp_path: Path) -> None:
    """AutoGPTQ stores biases of zeros beside all weights."""
    case = CASES["gptq"]
    quantised_model(tmp_path, case)
    stored, bias = load_file(tmp_path / "model.safetensors"), "model.layers.0.self_attn.o_proj.bias"
    expected, _ = logits(tmp_path, keep=False)
    save(tmp_path, stored | {bias: np.zeros(64, np.float16)})
    np.testing.assert_array_equal(logits(tmp_path, keep=False)[0], expected)
    save(tmp_path, stored | {bias: np.ones(64, np.float16)})
    with pytest.raises(Exception, match=f"tensor {bias} does not belong to the model"):
        logits(tmp_path, keep=False)


def test_parts_in_several_forms_are_kept_apart(tmp_path: Path) -> None:
    four, eight = CASES["gptq"], CASES["gptq, 8 bits"]

    def write(rng: np.random.Generator, module: str, n: int, k: int) -> tuple[Tensors, np.ndarray]:
        return (eight if "v_proj" in module else four).write(rng, module, n, k)

    case = Case(four.quantization | {"dynamic": {"+:.*v_proj": {"bits": 8}}}, write, 4)
    expected = checkpoints.logits(quantised_model(tmp_path, case), TOKENS)
    kept, weights = logits(tmp_path, keep=True)
    assert isinstance(weights[0], JoinedWeight)
    assert difference(kept, expected) < ROUNDED
