"""Directories that hold another kind of checkpoint: the error says what is there and what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.errors import ModelError
from jaxchat.model_directory import find
from jaxchat.models.families import from_hugging_face, read_config
from tests import tiny

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
WEIGHTS = "model.safetensors"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["adapter_model.safetensors"],
            r"holds an adapter \(adapter_model\.safetensors\) beside the weights; merge it",
        ),
        (["adapter_config.json"], r"holds an adapter \(adapter_config\.json\) beside the weights; merge it"),
        (["adapter_model.bin"], r"holds an adapter \(adapter_model\.bin\) beside the weights; merge it"),
    ],
)
def test_an_adapter_beside_the_weights_is_refused(tmp_path: Path, files: list[str], message: str) -> None:
    tiny.write(tmp_path)
    assert_refused(tmp_path, files, message)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["adapter_config.json", "adapter_model.safetensors"], "without its base model; merge it"),
        (
            ["pytorch_model.bin", "config.json"],
            r"but pytorch_model\.bin; pickled weights are not supported; convert it",
        ),
        (["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"], "pickled weights are not supported"),
        (["consolidated.safetensors", "params.json"], "the native format of Mistral and Meta is not supported"),
        (["consolidated.00.pth"], "the native format of Mistral and Meta is not supported"),
        (["README.md", "mmproj-tiny.gguf"], r"but mmproj-tiny\.gguf; it is the image encoder of a model"),
        (["tiny-00002-of-00002.gguf"], r"but tiny-00002-of-00002\.gguf; it is a part of a model whose first part is"),
        (["model-00001-of-00002.safetensors"], r"shards need model\.safetensors\.index\.json"),
        (["weights.safetensors"], r"but weights\.safetensors; if it has all weights"),
        (["tf_model.h5"], "weights of TensorFlow are not supported"),
    ],
)
def test_other_kinds_of_checkpoints_are_named(tmp_path: Path, files: list[str], message: str) -> None:
    assert_refused(tmp_path, files, message)


def assert_refused(directory: Path, files: list[str], message: str) -> None:
    for name in files:
        (directory / name).write_bytes(b"{}")
    for use in (find, lambda path: read_config(Path(path)), lambda path: load_hf(Path(path), TINY)):
        with pytest.raises(ModelError, match=message):
            use(str(directory))


TINY = from_hugging_face(tiny.CONFIG)


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json"])
def test_a_pointer_of_git_lfs_is_named(tmp_path: Path, name: str) -> None:
    tiny.write(tmp_path)
    (tmp_path / name).write_bytes(POINTER)
    message = rf"{name}: a git-LFS pointer, not the file itself; run `git lfs pull`"
    for use in (find, lambda path: load_hf(Path(path), TINY)):
        with pytest.raises(ModelError, match=message):
            use(str(tmp_path))


def test_a_gguf_file_that_does_not_exist() -> None:
    with pytest.raises(ModelError, match=r"a/none\.gguf: no such file$"):
        find("a/none.gguf")


def test_weights_beside_other_formats_are_served(tmp_path: Path) -> None:
    tiny.write(tmp_path)
    for name in ("consolidated.safetensors", "pytorch_model.bin", "tiny.gguf"):
        (tmp_path / name).write_bytes(b"x")
    load_hf(find(str(tmp_path)), read_config(tmp_path))
