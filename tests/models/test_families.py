"""Published configurations, in old and new spellings, and the additional tensors that a checkpoint may contain."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import transformers
from safetensors.numpy import load_file, save_file

from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.checkpoints.stored_config import read_stored_config
from jaxchat.errors import ModelError
from jaxchat.models.config import LayerKind
from jaxchat.models.families import FAMILIES, from_hugging_face, read_config
from jaxchat.models.rope import RopeConfig
from tests import tiny
from tools.parity import checkpoints

GEMMA_3 = dict(hidden_size=2560, intermediate_size=10240, num_hidden_layers=34, sliding_window=1024)
SCALED = dict(rope_scaling=dict(factor=8.0, rope_type="linear"))


def test_the_text_part_of_gemma_3_relies_on_defaults_that_are_left_out() -> None:
    raw = dict(architectures=["Gemma3ForConditionalGeneration"], text_config={**GEMMA_3, **SCALED})
    actual = from_hugging_face(raw)
    theirs = transformers.Gemma3TextConfig(**GEMMA_3, **SCALED)
    assert (actual.num_heads, actual.num_kv_heads, actual.head_dim) == (8, 4, 256)
    assert (actual.vocab_size, actual.max_seq_len) == (theirs.vocab_size, theirs.max_position_embeddings)
    whole = LayerKind(rope=RopeConfig(theta=1e6, kind="linear", factor=8.0, original_context=131072))
    local = LayerKind(rope=RopeConfig(theta=1e4, original_context=131072), window=1024)
    assert actual.kinds == tuple(whole if kind == "full_attention" else local for kind in theirs.layer_types)


def test_the_vision_part_of_gemma_3_is_left_unread(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, "gemma 3")
    expected, _ = load_hf(tmp_path, read_config(tmp_path))
    file, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    for prefix in ("language_model.model.", "model.language_model."):
        tensors = {name.replace("model.", prefix, 1): value for name, value in load_file(file).items()}
        tensors["vision_tower.vision_model.embeddings.patch_embedding.weight"] = np.ones((2, 3, 4, 4), np.float32)
        head = "language_model.lm_head.weight" if prefix.startswith("language_model.") else "lm_head.weight"
        tensors[head] = tensors[f"{prefix}embed_tokens.weight"].copy()
        text = json.loads(config.read_text())
        other = tmp_path / prefix
        other.mkdir()
        save_file(tensors, other / "model.safetensors")
        raw = dict(architectures=["Gemma3ForConditionalGeneration"], text_config=text)
        (other / "config.json").write_text(json.dumps(raw))
        actual, _ = load_hf(other, read_config(other))
        jax.tree.map(np.testing.assert_array_equal, expected, actual)


@pytest.mark.parametrize("kind", ["longrope", "su"])
def test_phi_in_its_old_spelling(kind: str) -> None:
    factors = dict(short_factor=[1.0] * 6, long_factor=[2.0] * 6)
    raw = dict(
        tiny.CONFIG,
        architectures=["Phi3ForCausalLM"],
        head_dim=16,
        partial_rotary_factor=0.75,
        original_max_position_embeddings=256,
        max_position_embeddings=1024,
        rope_theta=5000.0,
        rope_scaling=dict(type=kind, **factors),
        sliding_window=None,
    )
    short = from_hugging_face(raw)
    rope = short.kinds[0].rope
    assert rope and (rope.kind, rope.theta, rope.fraction, rope.factor) == ("longrope", 5000.0, 0.75, 4.0)
    assert [short.for_max_seq_len(context).kinds[0].rope.long for context in (256, 257)] == [False, True]


def test_an_equal_head_of_a_tied_model_is_left_unread(tmp_path: Path) -> None:
    tiny.write(tmp_path)
    config, file = read_config(tmp_path), tmp_path / "model.safetensors"
    expected, digest = load_hf(tmp_path, config)
    tensors = load_file(file)
    save_file({**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].copy()}, file)
    assert read_stored_config(tmp_path).tie_embeddings
    actual, again = load_hf(tmp_path, config)
    jax.tree.map(np.testing.assert_array_equal, expected, actual)
    assert digest == again


def test_a_tensor_that_the_model_does_not_have_is_named(tmp_path: Path) -> None:
    tiny.write(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file({**load_file(file), "model.layers.0.self_attn.q_proj.bias": np.ones(32, np.float32)}, file)
    with pytest.raises(ModelError, match=r"model\.safetensors: tensor model\.layers\.0\.self_attn\.q_proj\.bias does"):
        load_hf(tmp_path, read_config(tmp_path))


@pytest.mark.parametrize(
    "name", ["MambaForCausalLM", "Llama4ForConditionalGeneration", "DeepseekV3ForCausalLM", "Qwen3_5ForCausalLM"]
)
def test_an_unknown_architecture_is_refused_with_the_list_of_those_supported(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        from_hugging_face({**tiny.CONFIG, "architectures": [name]})
    known = {family.partition("For")[0] for family in FAMILIES}
    assert all(word in str(caught.value) for word in (f"{name} is not supported", *known))


METHODS = ["hqq", "fbgemm_fp8", "modelopt", "torchao", "auto-round"]


@pytest.mark.parametrize("method", [*METHODS, None])
def test_a_quantised_checkpoint_is_refused_by_its_method(method: str | None) -> None:
    quantization = {"quant_method": method, "bits": 4} if method else {}
    with pytest.raises(ModelError, match=f"quantization_config of method {method or 'unnamed'} is not supported; use"):
        from_hugging_face({**tiny.CONFIG, "quantization_config": quantization})


@pytest.mark.parametrize(
    "keys",
    [
        dict(torch_dtype="float16"),
        dict(dtype="bfloat16"),
        dict(quantization_config=None),
        dict(use_cache=False, pretraining_tp=1, attention_dropout=0.0, transformers_version="4.40.0"),
        dict(head_dim=None),
        dict(head_dim=8),
    ],
    ids=str,
)
def test_keys_that_change_no_number(keys: dict) -> None:
    assert from_hugging_face({**tiny.CONFIG, **keys}) == from_hugging_face(tiny.CONFIG)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(architectures=None), "architecture unnamed"),
        (dict(architectures="LlamaForCausalLM"), "architectures must be a list"),
        (dict(hidden_size=float("nan")), "hidden_size must be a whole number of at least 1, got nan"),
        (dict(num_hidden_layers=-1), "num_hidden_layers must be a whole number of at least 1, got -1"),
        (dict(num_key_value_heads=True), "num_key_value_heads must be a whole number"),
        (dict(rms_norm_eps=float("nan")), "rms_norm_eps must be a finite number"),
        (dict(rope_theta="big"), "rope_theta must be a finite number"),
        (dict(rope_theta=0), "rope_theta must be above 0, got 0"),
        (dict(rope_scaling=[1]), "rope_scaling must be an object"),
        (dict(rope_scaling=dict(type="linear", factor=-1.0)), r"rope_scaling\.factor must be a finite number"),
        (dict(tie_word_embeddings="yes"), "tie_word_embeddings must be true or false"),
        (dict(head_dim=7), "an even number of each head must be rotated, got 7"),
        (dict(architectures=["SmolLM3ForCausalLM"], no_rope_layers=[1]), "1 layers are described, but there are 2"),
        (
            dict(architectures=["SmolLM3ForCausalLM"], no_rope_layers=[True, 1]),
            "no_rope_layers must be a list of finite",
        ),
        (
            dict(architectures=["Qwen3MoeForCausalLM"], mlp_only_layers=[False]),
            "mlp_only_layers must be a list of finite",
        ),
        (dict(architectures=["Gemma2ForCausalLM"], layer_types=["full"] * 2), "layer type 'full' is not supported"),
        (dict(architectures=["MixtralForCausalLM"], num_experts_per_tok=9), "9 experts for each token are more than 8"),
    ],
)
def test_settings_that_make_no_model_are_named(change: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        from_hugging_face({**tiny.CONFIG, **change})
