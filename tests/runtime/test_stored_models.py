"""A quantised checkpoint is served as it is stored: no weight is widened, and predictions are those of its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from safetensors.numpy import load_file, save_file

from jaxchat.checkpoints.find_model import find_model
from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.checkpoints.stored_config import read_stored_config
from jaxchat.config import EngineConfig
from jaxchat.kernels.attention.reference import causal
from jaxchat.kernels.matmul.grouped import GroupedWeight
from jaxchat.kernels.matmul.packed import JoinedWeight
from jaxchat.models.decoder import Decoder, hidden_states, logits_of
from jaxchat.parallel.mesh import Placement
from jaxchat.runtime.parameters import load_parameters
from tests.checkpoints.gguf import tiny_gguf

KINDS = {  # by the end of the name
    "attn_v.weight": "Q8_0",
    "attn_output.weight": "Q4_1",
    "ffn_up.weight": "F16",
    "ffn_down.weight": "Q5_1",
    "token_embd.weight": "Q5_0",
    "output.weight": "Q8_0",
    "proj.weight": "Q4_0",
    "attn_q.weight": "Q4_0",
    "attn_k.weight": "Q4_0",
    "ffn_gate.weight": "Q4_0",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama, whose queries and keys the file has in another order of rows."""
    folder = tmp_path_factory.mktemp("original")
    original = tiny_gguf.write_checkpoint(folder, intermediate_size=96)
    tensors = load_file(original / "model.safetensors")  # of standard deviation 1, which would saturate attention
    save_file({name: tensor / 8 for name, tensor in tensors.items()}, original / "model.safetensors")
    path = tiny_gguf.write_tiny(folder / "tiny.gguf", original, kinds=KINDS)
    return find_model(str(path), str(folder / "cache"))


def loaded(model: Path, **settings: Any) -> tuple[dict[str, Any], str]:
    config, engine = read_stored_config(model), EngineConfig(**settings)
    params, _, phrase = load_parameters(model, config, config, engine, Placement.create(engine.mesh, config))
    return params, phrase


def logits(model: Path, params: dict[str, Any]) -> np.ndarray:
    decoder, tokens = Decoder(read_stored_config(model)), jnp.arange(9)
    return np.asarray(
        jax.jit(lambda p: logits_of(decoder, p, hidden_states(decoder, p, tokens, tokens, causal)))(params)
    )


@pytest.mark.parametrize("cpu_matmul", ["native", "xla"])
def test_predictions_are_those_of_the_stored_numbers(model: Path, cpu_matmul: str) -> None:
    params, phrase = loaded(model, cpu_matmul=cpu_matmul)
    exact = logits(model, load_hf(model, read_stored_config(model))[0])
    actual = logits(model, params)
    assert "of weights in 4, 5, 8 bits" in phrase
    assert np.abs(actual - exact).max() < 0.02 * np.abs(exact).max()  # activations are rounded to 8 bits


def test_no_weight_is_widened(model: Path) -> None:
    params, _ = loaded(model)
    layer = params["layer_0"]
    assert isinstance(layer["attention"]["qkv"], JoinedWeight)  # of 4 and of 8 bits
    assert isinstance(layer["mlp"]["gate_up"], JoinedWeight)  # of 4 bits and of f16
    weights = params["embed"], params["head"], layer["attention"]["out"], layer["mlp"]["down"]
    assert all(isinstance(weight, GroupedWeight) for weight in weights)
    assert [weight.codes.shape[3] for weight in weights] == [5, 8, 4, 5]


def test_other_rounding_starts_from_the_stored_numbers(model: Path) -> None:
    params, phrase = loaded(model, quantize="int4")
    assert isinstance(params["layer_0"]["attention"]["qkv"], GroupedWeight)
    assert phrase.startswith("of int4")


@pytest.mark.parametrize("quantize", [None, "int4", "int8"])
def test_copies_of_the_model_are_compiled_alike(model: Path, quantize: str | None) -> None:
    """Shardings are a part of programs, so packed weights have those that `Placement.copy` gives."""
    params, _ = loaded(model, quantize=quantize)
    assert {type(leaf.sharding) for leaf in jax.tree.leaves(params)} == {NamedSharding}
