"""What the error says about something that is not a model that can be served."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from jaxchat.checkpoints.find_model import check_model
from jaxchat.errors import ModelError
from jaxchat.model_directory import find
from serving.cli.main import main
from tests import tiny
from tests.serving.process import FREE_PORTS


def test_the_most_similar_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "llama-3-8b").mkdir()
    (tmp_path / "tiny.gguf").touch()
    for wrong, right in (("lama-3-8b", "llama-3-8b"), ("tinny.gguf", "tiny.gguf")):
        with pytest.raises(ModelError, match=rf"no such .*; did you mean {tmp_path / right}\?$"):
            find(str(tmp_path / wrong))
    with pytest.raises(ModelError, match=r"and not a hub id of the form owner/name$"):
        find(str(tmp_path / "zebra"))


def test_a_relative_path_is_named_as_it_was_given(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"did you mean models\?$"):
        find("model")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_file_of_weights(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.touch()
    with pytest.raises(ModelError, match=r"weights alone are not a model; put config\.json and tokenizer\.json beside"):
        find(str(path))
    (tmp_path / "config.json").touch()
    with pytest.raises(ModelError, match=rf"a file, not the directory of a model; name its folder, {tmp_path}$"):
        find(str(path))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"an empty directory, not a model$"),
        (["README.md"], r"a directory without config\.json, not a model; a model in Hugging Face form has one"),
        (["model_index.json"], r"an image generator in the format of diffusers"),
        (["a/config.json", "b/config.json"], r"without config\.json, not a model; it has models: .*/a, .*/b$"),
        (["a/config.json"], r"without config\.json, not a model; it has a model: .*/a$"),
    ],
)
def test_a_directory_without_a_model(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ModelError, match=message):
        find(str(tmp_path))


def test_an_adapter_names_its_base_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/base"}')
    with pytest.raises(ModelError, match=r"without its base model owner/base; merge it"):
        find(str(tmp_path))


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("BertModel", "architecture BertModel is an embedding model, not a chat model"),
        ("XLMRobertaModel", "is an embedding model, not a chat model"),
        ("Qwen3ForSequenceClassification", "is a classifier, not a chat model"),
        ("ViTForImageClassification", "is a vision model, not a chat model"),
        ("WhisperForConditionalGeneration", "is a speech recogniser, not a chat model"),
        ("MambaForCausalLM", "architecture MambaForCausalLM is not supported; supported: "),
    ],
)
def test_another_kind_of_model(tmp_path: Path, capsys, architecture: str, message: str) -> None:
    tiny.write(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture], "model_type": "other"}))
    (tmp_path / "tokenizer_config.json").write_text("{}")  # without a chat template, as such models are
    assert main(["serve", *FREE_PORTS, "--model", str(tmp_path), "--cache-dir", "none"]) == 1
    error = capsys.readouterr().err
    assert f"jaxchat: {tmp_path}/config.json: " in error and message in error and error.count("\n") == 1


def test_a_gguf_file_of_an_embedding_model(tmp_path: Path) -> None:
    path = tmp_path / "bert.gguf"
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_tensor("token_embd.weight", np.zeros((32, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelError, match=r"bert\.gguf: architecture bert is not supported in GGUF files; supported: "):
        check_model(str(path))


def test_all_models_are_checked_before_the_first_is_loaded(tmp_path: Path, capsys, monkeypatch) -> None:
    loaded: list[object] = []
    monkeypatch.setattr("jaxchat.api.load_session", lambda *_, **__: loaded.append(1))
    assert main(["serve", *FREE_PORTS, "--cache-dir", "none", "--model", "bundled", "--model", str(tmp_path)]) == 1
    assert "an empty directory, not a model" in capsys.readouterr().err and not loaded


def test_a_model_that_can_be_served_passes(tmp_path: Path) -> None:
    assert check_model(str(tiny.write(tmp_path))) == tmp_path
