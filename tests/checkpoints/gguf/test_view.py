"""A GGUF file as a model directory: found by its name or its folder, made once, served like any other."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import jaxchat
from jaxchat.chat.prompt.template_files import load_template
from jaxchat.chat.prompt.tokenizer import load_tokenizer
from jaxchat.checkpoints.find_model import find_model
from jaxchat.checkpoints.gguf.reader import GgufReader
from jaxchat.checkpoints.gguf.view import view
from jaxchat.errors import ModelError
from jaxchat.model_directory import GGUF, gguf_file, model_id
from tests import tiny
from tests.checkpoints.gguf import tiny_gguf


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf.write_checkpoint(tmp_path_factory.mktemp("original"))


@pytest.fixture
def cache(tmp_path: Path) -> str:
    return str(tmp_path / "cache")


def test_a_view_has_what_serving_reads(original: Path, tmp_path: Path, cache: str) -> None:
    path = tiny_gguf.write_tiny(tmp_path / "tiny.gguf", original)
    directory = find_model(str(path), cache)
    template = load_template(directory)
    assert template.source == tiny.TEMPLATE
    tokenizer = load_tokenizer(directory, template)
    reference = load_tokenizer(original, template)
    assert tokenizer.stop_tokens == {tokenizer.id_of("<|im_end|>"), tokenizer.id_of("<|endoftext|>")}
    text = "<|im_start|>user\nhe said ü<tool_call><|im_end|>"
    assert tokenizer.encode(text) == reference.encode(text)
    assert (tokenizer.size, tokenizer.special_tokens) == (reference.size, reference.special_tokens)
    special = json.loads((directory / "tokenizer_config.json").read_text())
    assert special == {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}


def test_a_view_is_made_once(original: Path, tmp_path: Path, cache: str) -> None:
    path = tiny_gguf.write_tiny(tmp_path / "tiny.gguf", original)
    first = view(path, cache)
    made = (first / "tokenizer.json").stat()
    assert view(path, cache) == first
    assert (first / "tokenizer.json").stat().st_ino == made.st_ino
    assert int((first / "config.json").stat().st_mtime) == int(path.stat().st_mtime)
    assert [each.name for each in first.parent.iterdir()] == [first.name]  # nothing unfinished


@pytest.mark.parametrize("name", ["config.json", "additional_chat_templates/tool_use.jinja", GGUF])
def test_a_view_that_lost_a_file_is_made_again(name: str, original: Path, tmp_path: Path, cache: str) -> None:
    path = tiny_gguf.write_tiny(tmp_path / "tiny.gguf", original, **{"tokenizer.chat_template.tool_use": "{{ tools }}"})
    directory = view(path, cache)
    content = (directory / name).read_bytes()
    (directory / name).unlink()
    assert view(path, cache) == directory
    assert (directory / name).read_bytes() == content


def test_the_path_need_not_be_text(original: Path, tmp_path: Path, cache: str) -> None:
    path = tiny_gguf.write_tiny(tmp_path / "tiny.gguf", original)
    path = path.rename(tmp_path / os.fsdecode(b"\xff \xc3\xbc\n.gguf"))
    assert GgufReader(view(path, cache)).shape("model.norm.weight") == (64,)


def test_without_a_cache_the_view_is_temporary(original: Path, tmp_path: Path) -> None:
    path = tiny_gguf.write_tiny(tmp_path / "tiny.gguf", original)
    directory = view(path, None)
    assert (directory / "config.json").exists() and tmp_path not in directory.parents


def test_templates_with_names_are_kept(original: Path, tmp_path: Path, cache: str) -> None:
    tools = {"tokenizer.chat_template.tool_use": "{% for m in messages %}{{ m.content }}{% endfor %}"}
    path = tiny_gguf.write_tiny(tmp_path / "tiny.gguf", original, **tools)
    directory = view(path, cache)
    assert (directory / "additional_chat_templates" / "tool_use.jinja").read_text() == next(iter(tools.values()))


def test_a_file_without_a_template_says_so(original: Path, tmp_path: Path, cache: str) -> None:
    path = tiny_gguf.write_tiny(tmp_path / "tiny.gguf", original, **{"tokenizer.chat_template": None})
    with pytest.raises(ModelError, match=r"tiny\.gguf: key tokenizer\.chat_template is missing, so it cannot chat"):
        view(path, cache)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["a.gguf"], "a.gguf"),
        (["a.gguf", "mmproj-a.gguf", "README.md"], "a.gguf"),
        (["b-00002-of-00002.gguf", "b-00001-of-00002.gguf"], "b-00001-of-00002.gguf"),
        (["a.gguf", "model.safetensors"], None),
        (["README.md"], None),
    ],
)
def test_the_file_in_a_directory(names: list[str], chosen: str | None, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert gguf_file(str(tmp_path)) == (chosen and tmp_path / chosen)


@pytest.mark.parametrize("name", ["sha256-0a1b", "MODEL.GGUF"])
def test_a_file_is_known_by_how_it_begins(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"GGUF\3")
    assert gguf_file(str(tmp_path / name)) == tmp_path / name


def test_several_models_in_a_directory_are_refused(tmp_path: Path) -> None:
    for name in ("a-Q4_K_M.gguf", "a-Q8_0.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(
        ModelError, match=r"holds several GGUF files, such as a-Q4_K_M\.gguf and a-Q8_0\.gguf; name one"
    ):
        find_model(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("a.b-Q4.gguf", "a.b-Q4"),
        ("big-00001-of-00003.gguf", "big"),
        (os.fsdecode(b"\xffoslo \xc3\xbc.gguf"), "\ufffdoslo \u00fc"),
    ],
)
def test_the_id_of_a_file_is_its_name(name: str, id_: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert model_id(str(tmp_path / name)) == id_


@pytest.fixture
def gguf_client(tiny_model: Path, tmp_path: Path) -> Iterator[jaxchat.Client]:
    """An engine on the tiny model in a GGUF file, with the settings, and so the programs, of `tiny_client`."""
    path = tiny_gguf.write_tiny(tmp_path / "tiny-F32.gguf", tiny_model)
    with jaxchat.load(str(path), progress=False, slots=4, prefill_chunk=32) as client:
        yield client


def test_a_file_answers_as_the_checkpoint_does(tiny_client: jaxchat.Client, gguf_client: jaxchat.Client) -> None:
    request = dict(
        messages=[{"role": "user", "content": "hello"}], max_tokens=12, seed=3, logprobs=True, top_logprobs=3
    )
    expected, actual = (client.chat.completions.create(**request) for client in (tiny_client, gguf_client))
    assert actual.choices == expected.choices
    assert actual.model == "tiny-F32"
