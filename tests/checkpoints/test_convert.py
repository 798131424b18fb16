"""Conversion to Orbax format: the same arrays on any mesh, the same answers, and errors that name the obstacle."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxchat import load
from jaxchat.checkpoints.convert import convert
from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.checkpoints.orbax import save_orbax
from jaxchat.checkpoints.stored_config import read_stored_config
from jaxchat.config import EngineConfig, MeshConfig
from jaxchat.errors import ModelError
from jaxchat.kernels.matmul.rounding import round_rows
from jaxchat.models.config import ModelConfig
from jaxchat.models.families import from_hugging_face
from jaxchat.models.param_specs import param_specs
from jaxchat.parallel.mesh import Placement
from jaxchat.parallel.padding import padded_config
from jaxchat.runtime.parameters import load_parameters
from serving.cli.main import main
from tests import tiny

WIDE = {**tiny.CONFIG, "num_attention_heads": 8, "attention_bias": True, "tie_word_embeddings": False}
EXPERTS = {**tiny.CONFIG, **tiny.EXPERTS, "num_attention_heads": 8}


def on_mesh(directory: Path, raw: dict, devices: int, dtype: Any) -> dict[str, Any]:
    """Returns the parameters as an engine over `devices` devices gets them."""
    engine = EngineConfig(tensor_parallel=devices, dtype=dtype, cpu_matmul="xla")
    model = from_hugging_face(raw)
    served = padded_config(model, devices)
    return load_parameters(directory, model, served, engine, Placement.create(engine.mesh, served))[0]


def split(directory: Path, config: ModelConfig, devices: int) -> dict[str, Any]:
    """Returns the parameters split over several devices, without repeated KV heads or a padded vocabulary."""
    placement, specs = Placement.create(MeshConfig(tensor=devices), config), param_specs(config)
    return load_hf(directory, config, place=lambda path, array: placement.place(specs[path], array))[0]


def assert_same(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    """Asserts that two parameter trees are equal to the last bit and split in the same way."""

    def one(actual: jax.Array, expected: jax.Array) -> None:
        assert actual.sharding.is_equivalent_to(expected.sharding, actual.ndim)
        assert np.asarray(actual).tobytes() == np.asarray(expected).tobytes()

    jax.tree.map(one, actual, expected)


def check_meshes(folder: Path) -> None:
    """Compares Hugging Face and Orbax format on meshes of 1 to 8 devices, and what two devices saved on one and on
    four.
    """
    for name, raw in (("wide", WIDE), ("experts", EXPERTS)):
        plain, native, again = (folder / name / form for form in ("plain", "native", "again"))
        tiny.write(plain, **raw)
        config = from_hugging_face(raw)
        convert(plain, native)
        for devices in (1, 2, 4, 8):
            for dtype in ("float32", "bfloat16") if devices == 2 else ("float32",):
                expected = on_mesh(plain, raw, devices, dtype)
                assert_same(on_mesh(native, raw, devices, dtype), expected)
        again.mkdir()
        save_orbax(split(plain, config, 2), again, "digest")
        for devices in (1, 4):
            assert_same(on_mesh(again, raw, devices, "float32"), on_mesh(plain, raw, devices, "float32"))
        print(name, "same")


@pytest.mark.exhaustive
def test_a_round_trip_to_other_meshes_gives_the_same_bits(tmp_path: Path) -> None:
    script = (
        "import sys, jax; from pathlib import Path\n"
        "jax.config.update('jax_num_cpu_devices', 8)\n"
        "from tests.checkpoints.test_convert import check_meshes; check_meshes(Path(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "JAX_PLATFORMS": "cpu"})
    assert done.stdout.splitlines() == ["wide same", "experts same"], done.stderr


def test_a_converted_model_answers_the_same(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    native = tmp_path / "native"
    assert main(["convert", str(tiny_model), str(native)]) == 0
    assert f"jaxchat serve --model {native} --dtype float32" in capsys.readouterr().out
    assert not list(native.glob("*.safetensors"))
    answers = set()
    for model in (tiny_model, native):
        with load(str(model), slots=4, prefill_chunk=32) as client:
            answer = client.chat.completions.create(
                messages=[{"role": "user", "content": "Hello"}], seed=1, max_tokens=9
            )
            answers.add((answer.choices[0].message.content, answer.system_fingerprint))
    assert len(answers) == 1


def test_every_file_of_texts_is_copied(tiny_model: Path, tmp_path: Path) -> None:
    source, written = tmp_path / "source", tmp_path / "written"
    shutil.copytree(tiny_model, source)
    (source / "additional_chat_templates").mkdir()
    for name in (
        "special_tokens_map.json",
        "added_tokens.json",
        "chat_template.json",
        "additional_chat_templates/tool_use.jinja",
    ):
        (source / name).write_text("{}")
    convert(source, written)
    copied = {
        path.relative_to(source) for path in source.rglob("*") if path.is_file() and path.suffix != ".safetensors"
    }
    assert copied <= {path.relative_to(written) for path in written.rglob("*")}


def test_weights_keep_their_dtype(tiny_model: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text(json.dumps(tiny.CONFIG))
    weights = load_file(tiny_model / "model.safetensors")
    for dtype, kept in (("float16", "float32"), ("bfloat16", "bfloat16")):
        save_file(
            {name: value.astype(jnp.dtype(dtype)) for name, value in weights.items()}, source / "model.safetensors"
        )
        assert convert(source, tmp_path / dtype) == kept
    assert convert(source, tmp_path / "wider", dtype="float32") == "float32"


def test_what_is_in_the_way_is_named(tiny_model: Path, tmp_path: Path) -> None:
    convert(tiny_model, native := tmp_path / "native")
    with pytest.raises(ModelError, match="native: exists and is not an empty directory"):
        convert(tiny_model, native)
    with pytest.raises(ModelError, match="native: is in Orbax format already"):
        convert(native, tmp_path / "other")
    with pytest.raises(ModelError, match=r"config\.json: not found"):
        convert(tmp_path, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(("form", "bits"), [("int4", 4), ("int8", 8)])
def test_rounded_weights_are_those_of_the_rounding_and_stay_so(form: Any, bits: int, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    raw = {**tiny.CONFIG, "hidden_size": 64, "intermediate_size": 96, "tie_word_embeddings": False}
    tiny.write(source, **raw)
    assert convert(source, target, quantize=form) == "float32"
    before, after = (load_hf(folder, read_stored_config(folder))[0] for folder in (source, target))
    for name in ("gate_up", "down"):
        wide = np.asarray(before["layer_0"]["mlp"][name])
        expected = round_rows(wide.reshape(len(wide), -1).T, bits).dequantised().T.reshape(wide.shape)
        np.testing.assert_array_equal(after["layer_0"]["mlp"][name], expected)
    for name in ("embed", "head"):
        np.testing.assert_array_equal(after[name], before[name])
    model = from_hugging_face(raw)
    placement = Placement.create(MeshConfig(), model)
    params, _, phrase = load_parameters(target, model, model, EngineConfig(), placement)
    assert f"of weights in {bits} bits" in phrase
    assert params["layer_0"]["attention"]["qkv"].codes.shape[3] == bits
    names = {path.name for path in target.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= names
