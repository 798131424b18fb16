"""Text parts of models that also see images: their logits are those of the whole model for text."""

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
from jaxchat.checkpoints.stored_config import read_stored_config
from jaxchat.errors import ModelError
from jaxchat.models.families import from_hugging_face, read_config
from tests.exhaustive import mostly_exhaustive
from tests.models.test_parity import TOKENS, our_logits
from tools.parity import checkpoints, measure, multimodal

WEIGHTS = "model.safetensors"
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=128, mrope_section=[2, 3, 3])


def arrays(directory: Path) -> Any:
    return load_hf(directory, read_stored_config(directory))[0]


def flat(directory: Path, **changes: Any) -> dict[str, Any]:
    """Returns the `config.json` of a checkpoint without a text part, as Qwen 2.5 VL was published."""
    raw = json.loads((directory / "config.json").read_text())
    return {**raw.pop("text_config"), **raw, **changes}


@pytest.mark.parametrize("case", mostly_exhaustive(multimodal.CASES, ["mistral 3", "qwen 2.5 vl"]))
def test_prefill_and_decode_agree_with_transformers(tmp_path: Path, case: str) -> None:
    model = multimodal.write(tmp_path, case)
    actual = measure.difference(measure.recording_runner(tmp_path), model)
    assert actual.prefill < 1e-4 and actual.decode < 1e-4


@pytest.mark.parametrize("case", ["mistral 3", "qwen 2.5 vl"])
def test_names_of_version_5_give_the_same_arrays(tmp_path: Path, case: str) -> None:
    for name in ("published", "new"):
        multimodal.write(tmp_path / name, case, published=name == "published")
    stored = [set(load_file(tmp_path / name / WEIGHTS)) for name in ("published", "new")]
    assert not any("layers" in tensor for tensor in stored[0] & stored[1])
    jax.tree.map(np.testing.assert_array_equal, arrays(tmp_path / "published"), arrays(tmp_path / "new"))


def test_published_experts_of_qwen_3_vl_have_their_inputs_first(tmp_path: Path) -> None:
    multimodal.write(tmp_path, "qwen 3 vl with experts")
    expected, file = arrays(tmp_path), tmp_path / WEIGHTS
    tensors = load_file(file)
    turned = {name: value.swapaxes(1, 2).copy() if ".experts." in name else value for name, value in tensors.items()}
    assert turned["model.language_model.layers.0.mlp.experts.gate_up_proj"].shape == (6, 64, 48)
    save_file(turned, file)
    jax.tree.map(np.testing.assert_array_equal, expected, arrays(tmp_path))


@pytest.mark.parametrize("case", ["mistral 3", "qwen 3 vl"])
def test_a_tied_head_is_not_stored(tmp_path: Path, case: str) -> None:
    model = multimodal.write(tmp_path, case, tied=True)
    assert not any("lm_head" in name for name in load_file(tmp_path / WEIGHTS))
    expected = checkpoints.logits(model, TOKENS)
    assert np.abs(our_logits(tmp_path, TOKENS) - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_stored_head_of_mistral_3_is_used_where_its_config_does_not_tell(tmp_path: Path) -> None:
    multimodal.write(tmp_path, "mistral 3")
    expected, file = arrays(tmp_path), tmp_path / "config.json"
    raw = json.loads(file.read_text())
    del raw["tie_word_embeddings"]
    file.write_text(json.dumps(raw))
    assert read_config(tmp_path).tie_embeddings and not read_stored_config(tmp_path).tie_embeddings
    jax.tree.map(np.testing.assert_array_equal, expected, arrays(tmp_path))


def test_qwen_2_5_vl_as_published_has_no_text_part_and_names_mrope(tmp_path: Path) -> None:
    multimodal.write(tmp_path, "qwen 2.5 vl")
    nested, sections = read_config(tmp_path), dict(type="mrope", mrope_section=[2, 3, 3])
    raw = flat(tmp_path, rope_scaling=sections, rope_theta=10000.0, model_type="qwen2_5_vl")
    del raw["rope_parameters"]
    assert from_hugging_face(raw) == nested
    del raw["rope_theta"]
    (rope,) = {kind.rope for kind in from_hugging_face(raw).kinds}
    assert rope and rope.theta == transformers.Qwen2_5_VLConfig(**raw).text_config.rope_parameters["rope_theta"]


def test_sections_beside_yarn_change_nothing_for_text(tmp_path: Path) -> None:
    multimodal.write(tmp_path, "qwen 2.5 vl")
    file = tmp_path / "config.json"
    raw = json.loads(file.read_text())
    raw["text_config"]["rope_parameters"] = dict(YARN, rope_theta=10000.0)
    file.write_text(json.dumps(raw))
    model = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path, attn_implementation="eager")
    expected = checkpoints.logits(model.eval(), TOKENS)
    assert np.abs(our_logits(tmp_path, TOKENS) - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("architecture", "text", "message"),
    [
        ("Mistral3", dict(model_type="mamba"), r"text_config\.model_type is not supported; supported: mistral, minis"),
        ("Mistral3", dict(hidden_size=None), r"text_config\.hidden_size is missing"),
        (
            "Mistral3",
            dict(model_type="ministral3", rope_parameters=dict(llama_4_scaling_beta=0.1)),
            r"rope_parameters\.original_max_position_embeddings is missing",
        ),
        ("Qwen3VL", dict(rope_parameters=dict(rope_type="mrope")), "rope type 'mrope' is not supported"),
    ],
)
def test_settings_of_the_text_part_are_refused_by_name(architecture: str, text: dict[str, Any], message: str) -> None:
    settings = {**checkpoints.SHAPE, **text}
    with pytest.raises(ModelError, match=message):
        from_hugging_face(dict(architectures=[f"{architecture}ForConditionalGeneration"], text_config=settings))


@pytest.mark.parametrize("kind", ["Qwen2VL", "Qwen2_5_VL", "Qwen3VL", "Qwen3VLMoe"])
def test_keys_that_the_text_part_lacks_have_the_defaults_of_its_class(kind: str) -> None:
    text = dict(hidden_size=512, intermediate_size=64, num_hidden_layers=3, num_attention_heads=32, vocab_size=99)
    theirs = getattr(transformers, f"{kind}Config")(text_config=dict(text)).to_dict()
    architectures = [f"{kind}ForConditionalGeneration"]
    assert from_hugging_face(dict(architectures=architectures, text_config=text)) == from_hugging_face(
        {**theirs, "architectures": architectures}
    )
