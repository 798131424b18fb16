"""Metadata of GGUF files becomes the configuration that the model's `config.json` describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxchat.checkpoints.gguf.architectures import ARCHITECTURES
from jaxchat.checkpoints.gguf.file import open_gguf
from jaxchat.checkpoints.gguf.manifest import manifest
from jaxchat.checkpoints.gguf.reader import GgufReader
from jaxchat.checkpoints.gguf.view import read_gguf_config
from jaxchat.errors import ModelError
from jaxchat.models.families import from_hugging_face
from jaxchat.models.rope import frequencies
from jaxchat.planning.model_shapes import read_shape
from tests.checkpoints.gguf import tiny_gguf
from tests.checkpoints.gguf.architecture_cases import CASES, GATE, HF_SIZES, write


@pytest.mark.parametrize("kind", CASES)
def test_the_configuration_is_that_of_the_checkpoint(kind: str, tmp_path: Path) -> None:
    case = CASES[kind]
    shapes = {GATE: (6, 24, 1), "blk.0.ffn_gate_shexp.weight": (48, 1)}
    tensors = {name: np.zeros(shapes.get(name, (1, 1))) for name in case.tensors}
    path = write(tmp_path / "a.gguf", case.name, case.keys, tensors)
    expected = {"architectures": [f"{case.model}ForCausalLM"], **HF_SIZES, "tie_word_embeddings": False}
    assert from_hugging_face(read_gguf_config(path)) == from_hugging_face({**expected, **case.hugging_face})


def test_stored_divisors_give_the_frequencies_of_llama_3(tmp_path: Path) -> None:
    scaling = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
    expected = from_hugging_face(
        {"architectures": ["LlamaForCausalLM"], **HF_SIZES, "rope_scaling": dict(rope_type="llama3", **scaling)}
    ).kinds[0].rope  # fmt: skip
    wanted, _ = frequencies(expected, 16)
    divisors = 50_000.0 ** -(np.arange(0, 16, 2) / 16) / wanted
    path = write(tmp_path / "a.gguf", "llama", {}, {"rope_freqs.weight": divisors})
    actual, magnitude = frequencies(from_hugging_face(read_gguf_config(path)).kinds[0].rope, 16)
    np.testing.assert_allclose(actual, wanted, rtol=2e-7)
    assert magnitude == 1 and wanted[-1] < 0.2 * 50_000.0 ** (-14 / 16)


def test_long_rope_has_the_stored_factors(tmp_path: Path) -> None:
    factors = {f"rope_factors_{name}.weight": np.linspace(1, last, 8) for name, last in (("short", 2), ("long", 9))}
    keys = {
        "rope.scaling.original_context_length": 128,
        "rope.scaling.attn_factor": 1.25,
        "attention.sliding_window": 0,
    }
    rope = from_hugging_face(read_gguf_config(write(tmp_path / "a.gguf", "phi3", keys, factors))).kinds[0].rope
    assert (rope.kind, rope.original_context, rope.attention_factor, rope.long_factors[-1]) == (
        "longrope",
        128,
        1.25,
        9,
    )


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"attention.clamp_kqv": 8.0}, r"key llama\.attention\.clamp_kqv is not supported for this architecture"),
        ({"attention.sliding_window": 40}, r"key llama\.attention\.sliding_window is not supported"),
        ({"attention.causal": False}, r"key llama\.attention\.causal must be true; others are not decoders, got False"),
        ({"embedding_length": "64"}, r"key llama\.embedding_length must be a whole number of at least 1, got '64'"),
        ({"block_count": 0}, r"key llama\.block_count must be a whole number of at least 1, got 0"),
        ({"feed_forward_length": [96, 96, 96, 48]}, r"key llama\.feed_forward_length must be the same for all layers"),
        ({"attention.layer_norm_rms_epsilon": float("nan")}, r"rms_epsilon must be a finite number, got nan"),
        ({"attention.value_length": 8}, r"key llama\.attention\.value_length is 8, but the keys of a head have 16"),
        ({"rope.dimension_count": 8}, r"key llama\.rope\.dimension_count must be 16, got 8"),
        ({"rope.scaling.type": "longrope"}, r"key llama\.rope\.scaling\.type is not supported"),
        ({"rope.scaling.type": "yarn"}, r"key llama\.rope\.scaling\.factor is missing"),
        ({"rope.scaling.factor": 4.0}, r"key llama\.rope\.scaling\.factor must be 1 where rope\.scaling\.type is none"),
    ],
)  # fmt: skip
def test_keys_that_would_change_the_model_are_refused(keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"a\.gguf: {message}" if message.startswith("key") else message):
        read_gguf_config(write(tmp_path / "a.gguf", "llama", keys))


def test_an_unknown_architecture_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"architecture rwkv7 is not supported in GGUF files; supported: cohere2, comm"
    ):
        read_gguf_config(write(tmp_path / "a.gguf", "rwkv7", {}))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = tiny_gguf.write(tmp_path / "a.gguf", {}, {"general.architecture": "llama"})
    with pytest.raises(ModelError, match=r"a\.gguf: key llama\.attention\.head_count is missing"):
        read_gguf_config(path)


def test_every_architecture_is_tried() -> None:
    assert {case.name for case in CASES.values()} == set(ARCHITECTURES.names())


def test_the_part_that_sees_images_is_left_out(tmp_path: Path) -> None:
    images = {"vision.block_count": 27, "mm.tokens_per_image": 256}
    path = write(tmp_path / "a.gguf", "llama", images, {"v.blk.0.attn_q.weight": np.zeros((2, 2))})
    assert from_hugging_face(read_gguf_config(path)).num_layers == 4
    (tmp_path / "gguf.json").write_text(manifest(open_gguf(path)))
    assert set(GgufReader(tmp_path).files) == {"model.embed_tokens.weight"}


def test_a_plan_reads_the_sizes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gguf", "llama", {})
    assert read_shape(str(path)) == read_shape(str(tmp_path))
    assert read_shape(str(path)).num_layers == 4
