"""Tensors of GGUF files by their Hugging Face names: the checkpoint that a file was made from is the oracle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gguf
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxchat.checkpoints.gguf.file import open_gguf
from jaxchat.checkpoints.gguf.manifest import manifest
from jaxchat.checkpoints.gguf.reader import GgufReader
from jaxchat.checkpoints.gguf.view import view
from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.checkpoints.stored_config import read_stored_config
from jaxchat.checkpoints.tensor_slices import TensorSlice
from jaxchat.errors import ModelError
from tests.checkpoints.gguf import tiny_gguf

Q, NORM, DOWN = "model.layers.1.self_attn.q_proj.weight", "model.norm.weight", "model.layers.0.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf.write_checkpoint(tmp_path_factory.mktemp("original"))


def reader_of(path: Path) -> GgufReader:
    return GgufReader(view(path, str(path.parent / "cache")))


def whole(reader: GgufReader, name: str) -> TensorSlice:
    return TensorSlice(name, reader.shape(name), reader.shape(name))


def test_parameters_equal_those_of_the_checkpoint(original: Path, tmp_path: Path) -> None:
    directory = view(tiny_gguf.write_tiny(tmp_path / "tiny.gguf", original), str(tmp_path / "cache"))
    config = read_stored_config(directory)
    assert config == read_stored_config(original)
    expected, digest = load_hf(original, config)
    actual, same = load_hf(directory, config)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)
    assert same == digest


@pytest.mark.parametrize("kind", ["F32", "Q8_0", "Q4_0"])
def test_tensors_have_the_order_of_the_checkpoint(kind: str, original: Path, tmp_path: Path) -> None:
    reader = reader_of(tiny_gguf.write_tiny(tmp_path / "tiny.gguf", original, {"attn_q.weight": kind}))
    weights = load_file(original / "model.safetensors")
    assert set(reader.files) == set(weights)
    raw = gguf.GGMLQuantizationType[kind]
    for name, weight in weights.items():
        quantised = "q_proj" in name
        expected = gguf.dequantize(gguf.quantize(weight, raw), raw) if quantised else weight
        np.testing.assert_array_equal(reader.read(whole(reader, name)), expected)
        rows = (len(weight) // 4, len(weight) // 2)
        part = replace(whole(reader, name), rows=rows)
        np.testing.assert_array_equal(reader.read(part), expected[slice(*rows)])


def test_quantised_rows_dequantise_to_what_is_read(original: Path, tmp_path: Path) -> None:
    kinds = {"attn_q.weight": "Q5_0", "ffn_down.weight": "Q4_1", "token_embd.weight": "Q8_0", "ffn_up.weight": "F16"}
    reader = reader_of(tiny_gguf.write_tiny(tmp_path / "tiny.gguf", original, kinds))
    for name, bits in ((Q, 5), (DOWN, 4), ("model.embed_tokens.weight", 8)):
        for rows in (None, (2, 9)):
            part = replace(whole(reader, name), rows=rows)
            quantised = reader.quantised(part)
            assert quantised is not None and quantised.bits == bits
            np.testing.assert_array_equal(quantised.dequantised(), reader.read(part))
    for name in (NORM, "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.gate_proj.weight"):
        assert reader.quantised(whole(reader, name)) is None
    assert reader.dtypes() == {"F32", "F16"}


def test_norms_of_gemma_lose_the_one_that_the_file_adds(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "a.gguf", "gemma", {"attn_norm": np.array([1.5, 0.75, -1.0] + [1.0] * 29)})
    actual = read_layer(path, "input_layernorm.weight")
    np.testing.assert_array_equal(actual, np.array([0.5, -0.25, -2.0] + [0.0] * 29, np.float32))


def test_each_expert_has_its_own_name(tmp_path: Path) -> None:
    gate = np.arange(3 * 4 * 32, dtype=np.float32).reshape(3, 4, 32)
    path = write_layer(tmp_path / "a.gguf", "qwen3moe", {"ffn_gate_exps": gate}, {"ffn_gate_exps.weight": "Q8_0"})
    reader = reader_without_config(path)
    quantised = gguf.dequantize(gguf.quantize(gate, gguf.GGMLQuantizationType.Q8_0), gguf.GGMLQuantizationType.Q8_0)
    for expert in range(3):
        part = whole(reader, f"model.layers.0.mlp.experts.{expert}.gate_proj.weight")
        assert part.stored_shape == (4, 32)
        np.testing.assert_array_equal(reader.read(part), quantised[expert])
        rows = reader.quantised(replace(part, rows=(1, 3)))
        assert rows is not None
        np.testing.assert_array_equal(rows.dequantised(), quantised[expert, 1:3])


@pytest.mark.parametrize("shape", [(32,), (1, 32)])
def test_the_gate_of_shared_experts_may_be_a_vector(shape: tuple[int, ...], tmp_path: Path) -> None:
    gate = np.arange(32, dtype=np.float32)
    path = write_layer(tmp_path / "a.gguf", "qwen2moe", {"ffn_gate_inp_shexp": gate.reshape(shape)})
    np.testing.assert_array_equal(read_layer(path, "mlp.shared_expert_gate.weight"), gate[None])


def test_gates_and_ups_of_gpt_oss_alternate(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gate, up, down = (rng.normal(size=shape).astype(np.float32) for shape in [(2, 3, 32), (2, 3, 32), (2, 32, 32)])
    path = write_layer(tmp_path / "a.gguf", "gpt-oss", dict(ffn_gate_exps=gate, ffn_up_exps=up, ffn_down_exps=down))
    reader = reader_without_config(path)
    at = "model.layers.0.mlp.experts."
    mixed = reader.read(replace(whole(reader, f"{at}gate_up_proj"), rows=(1, 2)))
    np.testing.assert_array_equal(mixed[0, :, 0::2], gate[1].T)
    np.testing.assert_array_equal(mixed[0, :, 1::2], up[1].T)
    np.testing.assert_array_equal(reader.read(whole(reader, f"{at}down_proj")), down.swapaxes(1, 2))
    assert reader.quantised(whole(reader, f"{at}gate_up_proj")) is None


@pytest.mark.parametrize("kind", ["MXFP4", "Q8_0"])
def test_experts_of_gpt_oss_stay_quantised(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    layer = {f"ffn_{name}_exps": rng.normal(size=(2, 32, 64)).astype(np.float32) for name in ("gate", "up", "down")}
    path = write_layer(tmp_path / "a.gguf", "gpt-oss", layer, {"exps.weight": kind})
    reader = reader_without_config(path)
    for name in ("gate_up_proj", "down_proj"):
        part = replace(whole(reader, f"model.layers.0.mlp.experts.{name}"), rows=(1, 2))
        rows = reader.quantised(part)
        assert rows is not None and rows.bits == (5 if kind == "MXFP4" else 8)
        np.testing.assert_array_equal(rows.dequantised().T, reader.read(part)[0])


def test_parts_of_experts_in_two_types_are_widened(tmp_path: Path) -> None:
    layer = {f"ffn_{name}_exps": np.ones((2, 32, 64), np.float32) for name in ("gate", "up")}
    kinds = {"gate_exps.weight": "Q8_0", "up_exps.weight": "Q4_0"}
    reader = reader_without_config(write_layer(tmp_path / "a.gguf", "gpt-oss", layer, kinds))
    part = whole(reader, "model.layers.0.mlp.experts.gate_up_proj")
    assert reader.quantised(replace(part, rows=(1, 2))) is None


def test_a_scale_that_is_not_finite_names_the_tensor(original: Path, tmp_path: Path) -> None:
    path = tiny_gguf.write_tiny(tmp_path / "tiny.gguf", original, {"ffn_down.weight": "Q4_0"})
    stored = open_gguf(path).tensors["blk.0.ffn_down.weight"]
    with path.open("r+b") as file:
        file.seek(stored.offset)
        file.write(np.float16(np.inf).tobytes())
    reader = reader_of(path)
    for read in (reader.read, reader.quantised):
        with pytest.raises(ModelError, match=r"tiny\.gguf: tensor blk\.0\.ffn_down\.weight: a scale is not a finite"):
            read(whole(reader, DOWN))


def test_parts_may_be_links_to_files_without_their_names(tmp_path: Path) -> None:
    paths = [tmp_path / f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
    names = ("attn_norm", "ffn_norm")
    for index, (path, name) in enumerate(zip(paths, names, strict=True)):
        keys = {"split.no": index, "split.count": 2, "llama.attention.head_count": 4}
        target = tiny_gguf.write(
            tmp_path / f"blob{index}",
            {f"blk.0.{name}.weight": np.full(32, index, np.float32)},
            {"general.architecture": "llama", **keys},
        )
        path.symlink_to(target)
    np.testing.assert_array_equal(read_layer(paths[0], "post_attention_layernorm.weight"), np.ones(32))


def test_a_file_that_changed_is_refused(original: Path, tmp_path: Path) -> None:
    path = tiny_gguf.write_tiny(tmp_path / "tiny.gguf", original)
    directory = view(path, str(tmp_path / "cache"))
    tiny_gguf.write_tiny(path, original, {"ffn_up.weight": "F16"})
    with pytest.raises(ModelError, match=r"tiny\.gguf: has changed since \S+ was made from it"):
        GgufReader(directory)
    assert view(path, str(tmp_path / "cache")) != directory


@pytest.mark.parametrize("name", ["blk.1.ffn_down.weight", "output_norm.weight", "blk.0.attn_q.weight"])
def test_a_missing_tensor_is_named(name: str, original: Path, tmp_path: Path) -> None:
    tensors = tiny_gguf.tensors_of(original)
    del tensors[name]
    path = tiny_gguf.write(tmp_path / "tiny.gguf", tensors, tiny_gguf.metadata_of(original))
    directory = view(path, str(tmp_path / "cache"))
    with pytest.raises(ModelError, match=r"tiny\.gguf: the tensor that corresponds to model\.\S+ is missing"):
        load_hf(directory, read_stored_config(directory))


def test_a_tensor_that_no_one_knows_is_refused(original: Path, tmp_path: Path) -> None:
    tensors = tiny_gguf.tensors_of(original) | {"blk.0.ssm_conv1d.weight": np.ones(32, np.float32)}
    path = tiny_gguf.write(tmp_path / "tiny.gguf", tensors, tiny_gguf.metadata_of(original))
    directory = view(path, str(tmp_path / "cache"))
    with pytest.raises(ModelError, match=r"tiny\.gguf: tensor blk\.0\.ssm_conv1d\.weight does not belong to the model"):
        load_hf(directory, read_stored_config(directory))


def write_layer(
    path: Path, architecture: str, layer: dict[str, np.ndarray], kinds: dict[str, str] | None = None
) -> Path:
    """Writes a file with some tensors of a layer only."""
    metadata = {"general.architecture": architecture, f"{architecture}.attention.head_count": 4}
    return tiny_gguf.write(path, {f"blk.0.{name}.weight": array for name, array in layer.items()}, metadata, kinds)


def reader_without_config(path: Path) -> GgufReader:
    (path.parent / "gguf.json").write_text(manifest(open_gguf(path)))
    return GgufReader(path.parent)


def read_layer(path: Path, name: str) -> np.ndarray:
    reader = reader_without_config(path)
    return reader.read(whole(reader, f"model.layers.0.{name}"))
