"""Gemma 4: what its configuration says of each layer, its stored names, and its cache. Parity: `test_parity`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import transformers
from safetensors.numpy import load_file, save_file

from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.errors import ModelError
from jaxchat.models.families import from_hugging_face, read_config
from jaxchat.models.rope import RopeConfig, frequencies
from jaxchat.parallel.padding import padded_config
from jaxchat.planning.model_shapes import MODEL_SHAPES
from jaxchat.types import DecodeWork, PrefillSlice, PrefillWork, SamplingParams
from tools.parity import checkpoints, measure

PUBLISHED = [name for name in MODEL_SHAPES if name.startswith("gemma-4")]
SHARED = "gemma 4, shared keys"
GREEDY = SamplingParams(temperature=0.0)


def raw(**changes: Any) -> dict[str, Any]:
    """Returns a small configuration, without the keys that are null."""
    base = dict(checkpoints.CASES[SHARED][1], architectures=["Gemma4ForCausalLM"])
    whole = {**checkpoints.SHAPE, **base, **changes}
    return {key: value for key, value in whole.items() if value is not None}


@pytest.mark.parametrize("name", PUBLISHED)
def test_layers_of_published_models_are_those_of_transformers(name: str) -> None:
    shape = {key: value for key, value in MODEL_SHAPES[name].items() if key != "architectures"}
    theirs, ours = transformers.Gemma4TextConfig(**shape), from_hugging_face(MODEL_SHAPES[name])
    last: dict[str, int] = {}
    for index, (kind, layer) in enumerate(zip(ours.kinds, ours.layers, strict=True)):
        expected, type_ = theirs.per_layer_config[index], theirs.layer_types[index]
        full = type_ == "full_attention"
        assert (layer.head_dim, layer.num_kv_heads) == (expected.head_dim, expected.num_key_value_heads)
        assert kind.window == (0 if full else theirs.sliding_window)
        assert kind.tied_values == (full and theirs.attention_k_eq_v)
        shared = theirs.kv_sharing_modes[index] == "reuse"
        assert kind.keys_of == (last[type_] if shared else None)
        assert layer.mlp_dim == theirs.intermediate_size * (2 if shared and theirs.use_double_wide_mlp else 1)
        if not shared:
            last[type_] = index


def test_frequencies_beyond_the_rotated_part_are_zero() -> None:
    actual, magnitude = frequencies(RopeConfig(theta=1e6, fraction=0.25, kind="proportional", factor=2.0), 32)
    expected = np.where(np.arange(16) < 4, 1e6 ** (-np.arange(16) / 16) / 2, 0)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert magnitude == 1


def test_heads_of_each_layer_are_padded_by_themselves() -> None:
    model = from_hugging_face(MODEL_SHAPES["gemma-4-26b-a4b"])
    for devices, narrow, wide in ((2, 8, 2), (4, 8, 4), (16, 16, 16)):
        layers = padded_config(model, devices).layers
        assert [layers[index].num_kv_heads for index in (0, 5)] == [narrow, wide]
        assert {layer.num_heads for layer in layers} == {16}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(attention_bias=True), "attention_bias must be false"),
        (dict(use_bidirectional_attention="all"), "use_bidirectional_attention must be null or 'vision', .* got 'all'"),
        (dict(vocab_size_per_layer_input=300), "vocab_size_per_layer_input must be vocab_size, 199, got 300"),
        (dict(num_kv_shared_layers=6), "num_kv_shared_layers must leave a layer of type full_attention"),
        (dict(num_kv_shared_layers=9), "num_kv_shared_layers must leave a layer of type"),
        (dict(enable_moe_block=True, num_experts=4), "top_k_experts is missing"),
        (dict(per_layer_config={"1": {"mlp": 3}}), r"per_layer_config\.1\.mlp is not supported"),
        (dict(per_layer_config=[]), "per_layer_config must be an object"),
        (dict(per_layer_config={"7": {}}), r"per_layer_config\.7 must be named by a layer from 0 to 6"),
        (dict(per_layer_config={"5": {"head_dim": 64}}), "per_layer_config must give layer 5 the heads of layer 2"),
        (dict(num_key_value_heads=3), "8 query heads are not a multiple of 3 KV heads"),
        (dict(rope_parameters=dict(full_attention={})), r"rope_parameters\.sliding_attention must be an object"),
        (
            dict(
                rope_parameters=dict(
                    sliding_attention=dict(rope_theta=1e4, partial_rotary_factor=0.5),
                    full_attention=dict(rope_theta=1e6),
                )
            ),
            r"sliding_attention\.partial_rotary_factor needs rope_type proportional",
        ),
    ],
    ids=str,
)
def test_what_would_be_computed_wrongly_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        from_hugging_face(raw(**changes))


def test_towers_and_keys_that_no_layer_uses_are_left_unread(tmp_path: Path) -> None:
    checkpoints.write(tmp_path, SHARED)
    expected, _ = load_hf(tmp_path, read_config(tmp_path))
    stored, text = load_file(tmp_path / "model.safetensors"), json.loads((tmp_path / "config.json").read_text())
    tensors = {name.replace("model.", "model.language_model.", 1): value for name, value in stored.items()}
    more = ("vision_tower.a", "embed_vision.b", "audio_tower.c", "embed_audio.d", "language_model.layers.6.self_attn.")
    for name in (*more[:-1], f"{more[-1]}k_proj", f"{more[-1]}v_proj", f"{more[-1]}k_norm"):
        tensors[f"model.{name}.weight"] = np.ones((3, 3), np.float32)
    save_file(tensors, tmp_path / "model.safetensors")
    whole = dict(architectures=["Gemma4ForConditionalGeneration"], model_type="gemma4", text_config=text)
    (tmp_path / "config.json").write_text(json.dumps(whole))
    actual, _ = load_hf(tmp_path, read_config(tmp_path))
    jax.tree.map(np.testing.assert_array_equal, expected, actual)
    tensors["model.language_model.layers.0.self_attn.v_norm.weight"] = np.ones(3, np.float32)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"layers\.0\.self_attn\.v_norm\.weight does not belong"):
        load_hf(tmp_path, read_config(tmp_path))


def test_shared_keys_are_stored_once_and_a_cached_prefix_and_neighbours_change_no_bit(tmp_path: Path) -> None:
    layers = ["sliding_attention", "full_attention"] * 2
    shorter = dict(num_hidden_layers=4, layer_types=layers, num_kv_shared_layers=2)
    checkpoints.write_model(tmp_path, "Gemma4Text", **{**checkpoints.CASES[SHARED][1], **shorter})
    recorder = measure.recording_runner(tmp_path)
    runner, vocab = recorder.runner, recorder.vocab
    assert [len(cache) for cache in runner.pages.layers] == [2, 2, 0, 0]
    prompt = np.random.default_rng(5).integers(3, vocab, 150).astype(np.int32)
    page, chunk = runner.sizes.page_size, runner.sizes.chunk
    pages = np.arange(1, 160 // page + 2, dtype=np.int32)
    none = np.array([-1], np.int32)

    def prefill(slot: int, pages: np.ndarray, start: int) -> np.ndarray:
        for first in range(start, len(prompt), chunk):
            part = prompt[first : first + chunk]
            last = first + len(part) == len(prompt)
            runner.prefill(PrefillWork((PrefillSlice(slot, part, first, last, pages, 0, GREEDY),))).wait()
        return recorder.last().copy()

    whole = prefill(0, pages, 0)
    runner.decode(DecodeWork(np.array([0], np.int32), none)).wait()
    alone = recorder.last().copy()
    # Another sequence begins with the pages of the first chunk. The sequence in slot 0 decodes beside it.
    others = np.concatenate([pages[: chunk // page], pages[chunk // page :] + len(pages)])
    np.testing.assert_array_equal(prefill(1, others, chunk), whole)
    runner.decode(DecodeWork(np.array([1, 0], np.int32), np.array([-1, -1], np.int32))).wait()
    np.testing.assert_array_equal(recorder.last(), alone)
