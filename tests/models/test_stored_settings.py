"""Settings that users add by hand or that other programs write: our logits are those of `transformers`, or the key is
refused by its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from jaxchat.errors import ModelError
from jaxchat.models.config import ModelConfig
from jaxchat.models.families import from_hugging_face, read_config
from tests import tiny
from tests.models.test_parity import TOKENS, our_logits
from tools.parity import checkpoints

ALTERNATING = ["sliding_attention", "full_attention", "sliding_attention"]
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=128)


def changed(directory: Path, **changes: Any) -> None:
    """Changes keys of `config.json`; None removes one."""
    file = directory / "config.json"
    raw = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in raw.items() if value is not None}))


def reference(directory: Path) -> np.ndarray:
    model = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager"
    )
    return checkpoints.logits(model.eval(), TOKENS)


def assert_same(directory: Path) -> None:
    expected = reference(directory)
    assert np.abs(our_logits(directory, TOKENS) - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        ("qwen 3", dict(rope_scaling=YARN)),
        ("llama 3", dict(rope_scaling=dict(YARN, rope_theta=500000.0))),
        ("gemma 3", dict(rope_scaling=dict(rope_type="linear", factor=4.0))),
        ("llama 2", dict(rope_parameters=dict(YARN, rope_theta=1e4, mscale=0.7, mscale_all_dim=0.3))),
        ("llama 2", dict(rope_parameters=dict(rope_type="dynamic", factor=4.0, rope_theta=1e4))),
        ("llama 2", dict(rope_parameters=dict(YARN, rope_theta=1e4, beta_fast=0, beta_slow=None))),
        ("mistral", dict(layer_types=ALTERNATING)),
        ("mistral, no window", dict(layer_types=["full_attention"] * 3)),
        ("llama 2", dict(layer_types=["full_attention"] * 3)),
        ("qwen 2, window", dict(layer_types=["sliding_attention", "full_attention", "full_attention"])),
        ("qwen 3 with experts", dict(use_sliding_window=True, sliding_window=40, max_window_layers=2)),
        ("phi 3", dict(rms_norm_eps=None)),
        ("gemma 3", dict(attn_logit_softcapping=0.5)),
        ("mixtral", dict(rms_norm_eps=None)),
        ("llama 2", dict(architectures=["LlamaModel"])),
        ("qwen 2", dict(architectures=None)),
    ],
    ids=str,
)
def test_logits_are_those_of_transformers(tmp_path: Path, case: str, changes: dict) -> None:
    checkpoints.write(tmp_path, case)
    changed(tmp_path, **changes)
    assert_same(tmp_path)


@pytest.mark.parametrize("key", ["attn_logit_softcapping", "final_logit_softcapping"])
def test_caps_of_gemma_2_are_those_of_its_class_if_absent_and_off_if_null(key: str) -> None:
    raw = {**tiny.CONFIG, "architectures": ["Gemma2ForCausalLM"]}
    field = key.removesuffix("ping")
    assert getattr(from_hugging_face(raw), field) == getattr(transformers.Gemma2Config(), key)
    assert getattr(from_hugging_face({**raw, key: None}), field) == 0


def test_a_window_of_mistral_that_is_absent_is_that_of_its_class() -> None:
    raw = {**tiny.CONFIG, "architectures": ["MistralForCausalLM"]}
    assert [kind.window for kind in from_hugging_face(raw).kinds] == [4096, 4096]
    assert [kind.window for kind in from_hugging_face({**raw, "sliding_window": None}).kinds] == [0, 0]


@pytest.mark.parametrize("kind", ["Qwen2", "Qwen3"])
@pytest.mark.parametrize("used", [True, False, None])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        dict(max_window_layers=2),
        dict(max_window_layers=0),
        dict(sliding_window=None),
        dict(layer_types=["sliding_attention", "full_attention"] * 2),
        dict(dual_chunk_attention_config=dict(chunk_size=64, local_size=8), max_window_layers=1),
        dict(use_mrope=False, max_window_layers=4),
    ],
    ids=str,
)
def test_windows_of_qwen_are_those_of_transformers(kind: str, used: bool | None, changes: dict[str, Any]) -> None:
    raw = {**tiny.CONFIG, "architectures": [f"{kind}ForCausalLM"], "num_hidden_layers": 4, "sliding_window": 32}
    raw |= {"use_sliding_window": used, **changes}
    if not used and "layer_types" in changes:
        with pytest.raises(ModelError, match="layer_types names sliding_attention, but sliding_window is off"):
            from_hugging_face(raw)
        return
    theirs = getattr(transformers, f"{kind}Config")(**{**raw, "use_sliding_window": bool(used)})
    expected = [theirs.sliding_window if each == "sliding_attention" else 0 for each in theirs.layer_types]
    assert [layer.window for layer in from_hugging_face(raw).kinds] == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            dict(rope_parameters=dict(rope_theta=1e6), rope_scaling=YARN),
            r"rope_parameters\.rope_theta differs from the base 10000 of rope_scaling",
        ),
        (dict(rope_parameters=dict(full_attention=dict(rope_theta=1e6))), r"rope_parameters\.full_attention is not"),
        (dict(partial_rotary_factor=0.5), "partial_rotary_factor is not supported for this family"),
        (dict(layer_types=ALTERNATING[:2]), "layer_types must be full_attention for every layer"),
        (
            dict(layer_types=ALTERNATING[:2], architectures=["MixtralForCausalLM"], sliding_window=8),
            "layer_types must be sliding_attention for every layer",
        ),
        (
            dict(layer_types=ALTERNATING[:2], architectures=["Phi3ForCausalLM"], sliding_window=8),
            "layer_types must be sliding_attention for every layer",
        ),
        (
            dict(layer_types=ALTERNATING[:2], architectures=["MistralForCausalLM"], sliding_window=None),
            "layer_types names sliding_attention, but sliding_window is off or missing",
        ),
        (dict(rope_scaling=dict(YARN), architectures=["Phi3ForCausalLM"]), "rope type 'yarn' is not supported"),
        (
            dict(rope_parameters=dict(rope_type="linear", factor=2.0), architectures=["Gemma3ForCausalLM"]),
            r"rope_parameters\.rope_type must be in full_attention",
        ),
        (dict(model_type="mistral"), "model_type must fit architecture LlamaForCausalLM; it is that of Mistral"),
        (dict(model_type="mamba", architectures=None), "architecture unnamed is not supported"),
        (dict(model_type="llama", architectures=["LlamaForTokenClassification"]), "is a classifier, not a chat model$"),
    ],
    ids=str,
)
def test_settings_that_the_reference_ignores_are_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        from_hugging_face({**tiny.CONFIG, **changes})


@pytest.mark.parametrize("named", [None, [], ["LlamaModel"], ["LLaMAForCausalLM"]])
def test_model_type_names_the_family_where_architectures_does_not(tmp_path: Path, named: list[str] | None) -> None:
    raw = {**tiny.CONFIG, "model_type": "llama", "architectures": named}
    assert from_hugging_face(raw) == from_hugging_face(tiny.CONFIG)


def test_a_config_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(tiny.CONFIG), "utf-8-sig")
    assert isinstance(read_config(tmp_path), ModelConfig)


@pytest.mark.parametrize(
    ("changes", "context"),
    [
        (dict(max_position_embeddings=128, rope_scaling=YARN), 512),
        (dict(max_position_embeddings=128, rope_scaling=dict(type="yarn", factor=4.0)), 512),
        (dict(max_position_embeddings=1024, rope_scaling=YARN), 1024),
        (dict(max_position_embeddings=128, rope_scaling=dict(rope_type="linear", factor=4.0)), 128),
        (dict(max_position_embeddings=128, rope_scaling=dict(YARN, factor=1e300)), 2**31 - 1),
    ],
    ids=str,
)
def test_yarn_stretches_a_context_that_was_left_at_the_original_one(changes: dict, context: int) -> None:
    assert from_hugging_face({**tiny.CONFIG, **changes}).max_seq_len == context


def test_olmo_3_needs_both_bases_where_the_reference_would_apply_one_to_some_layers_only() -> None:
    raw = {**tiny.CONFIG, "architectures": ["Olmo3ForCausalLM"], "rope_theta": 1e4}
    with pytest.raises(ModelError, match=r"rope_theta must be in rope_parameters\.full_attention and"):
        from_hugging_face(raw)
    ropes = dict(full_attention=dict(rope_theta=2e4), sliding_attention=dict(rope_theta=3e4))
    model = from_hugging_face(dict(raw, rope_parameters=ropes, sliding_window=8, num_hidden_layers=4))
    assert [(kind.window, kind.rope and kind.rope.theta) for kind in model.kinds] == [(8, 3e4)] * 3 + [(0, 2e4)]


def test_yarn_of_published_olmo_3_applies_to_layers_without_a_window() -> None:
    raw = {**tiny.CONFIG, "architectures": ["Olmo3ForCausalLM"], "num_hidden_layers": 4, "rope_theta": 5e5}
    model = from_hugging_face({**raw, "rope_scaling": YARN})
    assert [kind.rope and kind.rope.kind for kind in model.kinds] == ["default"] * 3 + ["yarn"]


def test_norms_over_queries_of_command_r_are_refused() -> None:
    with pytest.raises(ModelError, match="use_qk_norm is not supported"):
        from_hugging_face({**tiny.CONFIG, "architectures": ["CohereForCausalLM"], "use_qk_norm": True})
