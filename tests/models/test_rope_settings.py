"""Every spelling of rotary settings gives the frequencies that `transformers` computes from the same `config.json`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers.models.gemma3.modeling_gemma3 import Gemma3RotaryEmbedding
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssRotaryEmbedding
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding
from transformers.models.smollm3.modeling_smollm3 import SmolLM3RotaryEmbedding

from jaxchat.models.families import from_hugging_face
from jaxchat.models.rope import RopeConfig, frequencies
from tests import tiny

HEAD_DIM = 64
SIZES = {**tiny.CONFIG, "hidden_size": 256, "head_dim": HEAD_DIM, "max_position_embeddings": 4096, "pad_token_id": 0}
CLASSES: dict[str, Callable[..., Any]] = {
    "Llama": LlamaRotaryEmbedding,
    "Qwen2": Qwen2RotaryEmbedding,
    "SmolLM3": SmolLM3RotaryEmbedding,
    "GptOss": GptOssRotaryEmbedding,
}
LLAMA3 = dict(low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=512)
ORIGINAL = dict(original_max_position_embeddings=1024)
FACTORS = dict(short_factor=[1.0 + i / 9 for i in range(24)], long_factor=[2.0 + i for i in range(24)])
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("Llama", {}),
    ("Llama", dict(rope_theta=5e5)),
    ("Llama", dict(rope_theta=5e5, rope_scaling=None)),
    ("Llama", dict(rope_theta=5e5, rope_scaling={})),
    ("Llama", dict(rope_scaling=dict(type="default"))),
    ("Llama", dict(rope_theta=5e5, original_max_position_embeddings=4096, rope_scaling=None)),  # Phi 4 as Llama
    ("Llama", dict(rope_scaling=dict(type="linear", factor=4.0))),
    ("Llama", dict(rope_scaling=dict(rope_type="linear", factor=4.0))),
    ("Llama", dict(rope_scaling=dict(type="linear", rope_type="linear", factor=4.0))),
    ("Llama", dict(rope_theta=5e5, rope_scaling=dict(LLAMA3, rope_type="llama3", factor=8.0))),
    ("Llama", dict(rope_theta=5e5, rope_scaling=dict(LLAMA3, type="llama3", factor=32.0))),
    ("Llama", dict(rope_scaling=dict(type="yarn", factor=4.0))),
    ("Llama", dict(rope_scaling=dict(ORIGINAL, rope_type="yarn", factor=4.0))),
    ("Llama", dict(rope_scaling=dict(ORIGINAL, rope_type="yarn", factor=None))),
    ("Llama", dict(rope_scaling=dict(ORIGINAL, rope_type="yarn", factor=4.0, attention_factor=1.3))),
    ("Llama", dict(rope_scaling=dict(ORIGINAL, rope_type="yarn", factor=4.0, mscale=0.7))),
    ("Llama", dict(rope_scaling=dict(ORIGINAL, rope_type="yarn", factor=4.0, mscale=0.7, mscale_all_dim=0.4))),
    ("Llama", dict(rope_scaling=dict(ORIGINAL, rope_type="yarn", factor=4.0, beta_fast=16, beta_slow=2))),
    ("Llama", dict(rope_theta=5e5, rope_parameters=dict(rope_type="default"))),
    ("Llama", dict(rope_theta=1e4, rope_parameters=dict(rope_type="default", rope_theta=5e5))),  # stale beside it
    ("Llama", dict(rope_theta=5e5, rope_scaling=dict(rope_type="default", rope_theta=5e5))),
    ("Llama", dict(rope_theta=5e5, rope_parameters=dict(ORIGINAL, rope_type="yarn", factor=4.0))),
    ("Qwen2", dict(rope_scaling=dict(rope_type="default", mrope_section=[8, 12, 12]))),
    ("Qwen2", dict(rope_theta=1e6, use_mrope=False)),
    ("SmolLM3", dict(rope_theta=5e6, rope_scaling=None)),
    ("GptOss", dict(rope_theta=150000, rope_scaling=dict(ORIGINAL, rope_type="yarn", factor=4.0, truncate=False))),
    ("GptOss", dict(rope_theta=150000, rope_scaling=dict(ORIGINAL, rope_type="yarn", factor=4.0, beta_fast=32.0))),
]


def assert_same(ours: RopeConfig | None, theirs: Any, layer_type: str = "") -> None:
    assert ours is not None
    prefix = f"{layer_type}_" if layer_type else ""
    expected = getattr(theirs, f"{prefix}inv_freq"), getattr(theirs, f"{prefix}attention_scaling")
    actual, magnitude = frequencies(ours, HEAD_DIM)
    np.testing.assert_allclose(actual, expected[0].numpy(), rtol=2e-6)
    assert magnitude == pytest.approx(expected[1], rel=1e-6)


def config_of(kind: str, raw: dict[str, Any]) -> Any:
    """Returns the configuration of `transformers`, which changes the dictionaries that it gets."""
    return getattr(transformers, f"{kind}Config")(**copy.deepcopy(raw))


@pytest.mark.parametrize(("kind", "changes"), SETTINGS, ids=lambda value: value if isinstance(value, str) else "")
def test_frequencies_are_those_of_transformers(kind: str, changes: dict[str, Any]) -> None:
    raw = {**SIZES, "architectures": [f"{kind}ForCausalLM"], **changes}
    theirs, model = CLASSES[kind](config_of(kind, raw)), from_hugging_face(raw)
    assert_same(model.kinds[0].rope, theirs)


@pytest.mark.parametrize("spelling", [dict(type="longrope"), dict(rope_type="longrope"), dict(type="su")], ids=str)
@pytest.mark.parametrize("original", [512, None])
@pytest.mark.parametrize("context", [256, 4096, 8192])
def test_the_length_decides_the_factors_of_phi(spelling: dict[str, str], original: int | None, context: int) -> None:
    raw = {**SIZES, "architectures": ["Phi3ForCausalLM"], "partial_rotary_factor": 0.75}
    raw |= {"max_position_embeddings": 8192, "rope_scaling": FACTORS}
    if original:
        raw["original_max_position_embeddings"] = original
    theirs = Phi3RotaryEmbedding(config_of("Phi3", raw | {"rope_scaling": FACTORS | dict(rope_type="longrope")}))
    theirs(torch.zeros(1, 1), torch.full((1, 1), context - 1))
    model = from_hugging_face(raw | {"rope_scaling": FACTORS | spelling})
    assert_same(model.for_max_seq_len(context).kinds[0].rope, theirs)


FULL = dict(full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6))
LOCAL = dict(sliding_attention=dict(rope_type="default", rope_theta=2e4))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        dict(rope_parameters=FULL | LOCAL),
        dict(rope_parameters=FULL),
        dict(rope_theta=1e6, rope_local_base_freq=3e4, rope_scaling=dict(rope_type="linear", factor=8.0)),
    ],
    ids=str,
)
def test_frequencies_of_each_type_of_layer_are_those_of_transformers(changes: dict[str, Any]) -> None:
    raw = {**SIZES, "architectures": ["Gemma3ForCausalLM"], "num_hidden_layers": 6, **changes}
    config = config_of("Gemma3Text", raw)
    theirs, kinds = Gemma3RotaryEmbedding(config), from_hugging_face(raw).kinds
    for kind, layer_type in zip(kinds, config.layer_types, strict=True):
        assert_same(kind.rope, theirs, layer_type)
