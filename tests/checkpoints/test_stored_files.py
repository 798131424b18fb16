"""Files of weights in the forms that other programs write: dtypes, shards, indices, links and tensors without use."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.checkpoints.stored_config import read_stored_config
from jaxchat.errors import ModelError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
Tensors = dict[str, np.ndarray]


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """Copies the tiny model, so that a test may change its files."""
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


def loaded(directory: Path) -> dict[str, Any]:
    return load_hf(directory, read_stored_config(directory))[0]


def stored_as(tensors: Tensors, *dtypes: Any) -> Tensors:
    """Returns tensors in these dtypes by turns."""
    return {name: value.astype(dtypes[i % len(dtypes)]) for i, (name, value) in enumerate(sorted(tensors.items()))}


@pytest.mark.parametrize(
    "dtypes",
    [[np.float16], [np.float64], [ml_dtypes.bfloat16], [ml_dtypes.bfloat16, np.float32], [np.float64, np.float16]],
    ids=lambda dtypes: "-".join(np.dtype(dtype).name for dtype in dtypes),
)
def test_every_floating_dtype_is_widened_exactly(model: Path, dtypes: list[Any]) -> None:
    narrow = stored_as(load_file(model / WEIGHTS), *dtypes)
    save_file(narrow, model / WEIGHTS)
    actual = loaded(model)
    save_file(stored_as(narrow, np.float32), model / WEIGHTS)
    jax.tree.map(np.testing.assert_array_equal, actual, loaded(model))


def index(model: Path, files: dict[str, str], **metadata: Any) -> None:
    (model / INDEX).write_text(json.dumps({**metadata, "weight_map": files}))


def one_shard(model: Path) -> None:
    file = (model / WEIGHTS).rename(model / "model-00001-of-00001.safetensors")
    index(model, dict.fromkeys(load_file(file), file.name), metadata={"total_size": 1})


def index_and_single(model: Path) -> None:
    index(model, dict.fromkeys(load_file(model / WEIGHTS), WEIGHTS))


def odd_metadata(model: Path) -> None:
    index(model, dict.fromkeys(load_file(model / WEIGHTS), WEIGHTS), metadata={"total_size": "?", "x": None}, extra=[1])


def links(model: Path) -> None:
    """Links to files of other names, as the cache of a hub has them."""
    for file in list(model.iterdir()):
        target = file.rename(model.parent / f"blob-{file.name}")
        file.symlink_to(target)


def shards(model: Path) -> None:
    tensors = load_file(model / WEIGHTS)
    (model / WEIGHTS).unlink()
    files = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(sorted(tensors))}
    for file in set(files.values()):
        save_file({name: tensors[name] for name in files if files[name] == file}, model / file)
    index(model, files)


@pytest.mark.parametrize("change", [one_shard, index_and_single, odd_metadata, links, shards])
def test_other_arrangements_of_files_give_the_same_arrays(model: Path, change: Callable[[Path], None]) -> None:
    expected = loaded(model)
    change(model)
    jax.tree.map(np.testing.assert_array_equal, expected, loaded(model))


@pytest.mark.parametrize(
    "name", ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq", "rotary_emb.inv_freq"]
)
def test_stored_frequencies_are_left_unread(model: Path, name: str) -> None:
    expected = loaded(model)
    save_file({**load_file(model / WEIGHTS), name: np.ones(4, np.float32)}, model / WEIGHTS)
    jax.tree.map(np.testing.assert_array_equal, expected, loaded(model))


@pytest.mark.parametrize(
    "name",
    [
        "score.weight",
        "mtp.layers.0.eh_proj.weight",
        "model.layers.2.input_layernorm.weight",
        "model.layers.0.self_attn.masked_bias",
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.0.mlp.up_proj.weight_scale",
    ],
)
def test_tensors_that_belong_to_no_parameter_are_named(model: Path, name: str) -> None:
    save_file({**load_file(model / WEIGHTS), name: np.ones(4, np.float32)}, model / WEIGHTS)
    with pytest.raises(ModelError, match=rf"{WEIGHTS}: tensor {name} does not belong to the model"):
        loaded(model)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
def test_tensors_of_eight_bits_without_their_configuration_are_named(model: Path, dtype: Any) -> None:
    name = "model.layers.0.mlp.down_proj.weight"
    tensors = load_file(model / WEIGHTS)
    save_file({**tensors, name: tensors[name].astype(dtype)}, model / WEIGHTS)
    with pytest.raises(ModelError, match=rf"{WEIGHTS}: tensor {name} has dtype \w+, supported: F64, F32, F16, BF16"):
        loaded(model)
