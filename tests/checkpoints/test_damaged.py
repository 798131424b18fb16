"""Damaged model directories: each kind ends `jaxchat serve` with one line that names the file and its fault."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxchat.checkpoints.convert import convert
from serving.cli import serve
from serving.cli.main import main
from tests.serving.process import FREE_PORTS

Damage = Callable[[Path], object]
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
UP = "model.layers.1.mlp.up_proj.weight"
NORM = "model.norm.weight"


def written(file: str, content: str | bytes) -> Damage:
    data = content.encode() if isinstance(content, str) else content
    return lambda model: (model / file).write_bytes(data)


def missing(file: str) -> Damage:
    return lambda model: (model / file).unlink()


def cut(file: str, size: int) -> Damage:
    """Truncates the file to `size` bytes, counted from its end if negative."""
    return lambda model: (model / file).write_bytes((model / file).read_bytes()[:size])


def keys(file: str, **changes: Any) -> Damage:
    """Changes some keys of a JSON file."""
    return lambda model: (model / file).write_text(json.dumps({**json.loads((model / file).read_text()), **changes}))


def tensors(change: Callable[[dict[str, np.ndarray]], object]) -> Damage:
    def damage(model: Path) -> None:
        weights = load_file(model / WEIGHTS)
        change(weights)
        save_file(weights, model / WEIGHTS)

    return damage


def sharded(model: Path) -> dict[str, Any]:
    """Replaces one file by two shards and their index."""
    weights = load_file(model / WEIGHTS)
    (model / WEIGHTS).unlink()
    files = {name: "a.safetensors" if "layers.1" in name else "b.safetensors" for name in weights}
    for file in set(files.values()):
        save_file({name: weights[name] for name in weights if files[name] == file}, model / file)
    (model / INDEX).write_text(json.dumps({"weight_map": files}))
    return files


def shards(then: Damage) -> Damage:
    return lambda model: (sharded(model), then(model))


def mapped(**changes: Any) -> Damage:
    """Makes two shards whose index lists other files for some tensors, or omits them if the file is None."""

    def damage(model: Path) -> None:
        files = {**sharded(model), **{name.replace("__", "."): file for name, file in changes.items()}}
        listed = {name: file for name, file in files.items() if file is not None}
        (model / INDEX).write_text(json.dumps({"weight_map": listed}))

    return damage


def converted(then: Damage) -> Damage:
    """Converts the model to Orbax format."""

    def damage(model: Path) -> None:
        convert(model, native := model.with_name("native"))
        shutil.rmtree(model)
        then(native.rename(model))

    return damage


def largest(then: Callable[[str], Damage]) -> Damage:
    """Applies `then` to the file with most of the weights."""

    def damage(model: Path) -> None:
        files = json.loads((model / "orbax.json").read_text())["files"]
        then(f"orbax/{max(files, key=files.__getitem__)}")(model)

    return damage


DEEP = '{"a": ' + "[" * 100_000
DAMAGES: dict[str, tuple[Damage, str]] = {
    "config missing": (missing("config.json"), r"a directory without config\.json, not a model"),
    "config empty": (written("config.json", ""), r"config\.json: not valid JSON"),
    "config with a comment": (written("config.json", '{"a": 1} // why'), r"config\.json: not valid JSON"),
    "config cut": (cut("config.json", -20), r"config\.json: not valid JSON"),
    "config not text": (written("config.json", b"\xff\xfe\x00"), r"config\.json: not UTF-8"),
    "config nested without end": (written("config.json", DEEP), r"config\.json: not valid JSON"),
    "config a list": (written("config.json", "[1]"), r"config\.json: must hold a JSON object, got list"),
    "config NaN": (keys("config.json", rms_norm_eps=float("nan")), r"config\.json: rms_norm_eps .* got nan"),
    "config endless": (keys("config.json", rope_theta=10**400), r"config\.json: rope_theta must be a finite"),
    "config negative": (keys("config.json", hidden_size=-32), r"config\.json: hidden_size .* got -32"),
    "config gigantic": (keys("config.json", num_hidden_layers=10**9), r"num_hidden_layers must be at most 1000"),
    "config of text": (keys("config.json", vocab_size="272"), r"config\.json: vocab_size .* got '272'"),
    "config without a size": (keys("config.json", hidden_size=None), r"config\.json: hidden_size is missing"),
    "config of other weights": (
        keys("config.json", vocab_size=2**31 - 1),
        r"model\.embed_tokens\.weight has 272 rows, but config\.json: vocab_size is 2147483647",
    ),
    "config of fewer layers": (keys("config.json", num_hidden_layers=1), rf"{WEIGHTS}: tensor model\.layers\.1\."),
    "config of more layers": (keys("config.json", num_hidden_layers=3), r"tensor model\.layers\.2\.\S+ is missing"),
    "generation config cut": (cut("generation_config.json", 5), r"generation_config\.json: not valid JSON"),
    "generation config a list": (written("generation_config.json", "[]"), r"generation_config\.json: must hold"),
    "end of turn of text": (keys("generation_config.json", eos_token_id=["x"]), r"n_config\.json: eos_token_id .*'x'"),
    "end of turn below 0": (keys("generation_config.json", eos_token_id=-1), r"n_config\.json: eos_token_id .* -1"),
    "tokenizer missing": (missing("tokenizer.json"), r"tokenizer\.json: not found"),
    "tokenizer empty": (written("tokenizer.json", ""), r"tokenizer\.json: not a usable tokenizer"),
    "tokenizer cut": (cut("tokenizer.json", -200), r"tokenizer\.json: not a usable tokenizer"),
    "tokenizer of nothing": (written("tokenizer.json", "{}"), r"tokenizer\.json: not a usable tokenizer"),
    "tokenizer config cut": (cut("tokenizer_config.json", -3), r"tokenizer_config\.json: not valid JSON"),
    "tokenizer config a word": (written("tokenizer_config.json", '"a"'), r"tokenizer_config\.json: must hold .* str"),
    "end token a list": (keys("tokenizer_config.json", eos_token=["a"]), r"tokenizer_config\.json: eos_token must be"),
    "template missing": (keys("tokenizer_config.json", chat_template=None), r"neither chat_template\.jinja, nor"),
    "template a number": (keys("tokenizer_config.json", chat_template=3), r"chat_template must be a string, got 3"),
    "template unnamed": (keys("tokenizer_config.json", chat_template=[{"name": "a"}]), r"with name and template"),
    "template open": (keys("tokenizer_config.json", chat_template="{% if"), r"tokenizer_config\.json: .* valid Jinja"),
    "template file cut": (written("chat_template.jinja", "{{ a"), r"chat_template\.jinja: .* not valid Jinja"),
    "template file not text": (written("chat_template.jinja", b"\xff"), r"chat_template\.jinja: not UTF-8"),
    "weights missing": (missing(WEIGHTS), rf"holds neither {WEIGHTS} nor {INDEX}"),
    "weights empty": (written(WEIGHTS, b""), rf"{WEIGHTS}: not a readable safetensors file"),
    "weights of noise": (written(WEIGHTS, b"\xff" * 999), rf"{WEIGHTS}: not a readable safetensors file"),
    "weights cut in the header": (cut(WEIGHTS, 50), rf"{WEIGHTS}: not a readable safetensors file"),
    "weights cut": (cut(WEIGHTS, -100), rf"{WEIGHTS}: not a readable safetensors file"),
    "tensor missing": (tensors(lambda weights: weights.pop(UP)), rf"tensor {re.escape(UP)} is missing"),
    "tensor unknown": (
        tensors(lambda weights: weights.update(extra=np.ones(3, np.float32))),
        rf"{WEIGHTS}: tensor extra does not belong to the model",
    ),
    "tensor of another shape": (
        tensors(lambda weights: weights.update({NORM: np.ones(33, np.float32)})),
        rf"{WEIGHTS}: tensor {NORM} has shape \(33,\), expected \(32,\)",
    ),
    "tensor of whole numbers": (
        tensors(lambda weights: weights.update({NORM: np.ones(32, np.int64)})),
        rf"{WEIGHTS}: tensor {NORM} has dtype I64",
    ),
    "tensor of 8 bits": (
        tensors(lambda weights: weights.update({NORM: np.ones(32, ml_dtypes.float8_e4m3fn)})),
        rf"{WEIGHTS}: tensor {NORM} has dtype F8_E4M3",
    ),
    "index cut": (shards(cut(INDEX, -9)), rf"{INDEX}: not valid JSON"),
    "index a list": (shards(written(INDEX, "[]")), rf"{INDEX}: must hold a JSON object, got list"),
    "index without a map": (shards(written(INDEX, "{}")), rf"{INDEX}: weight_map must be an object, got None"),
    "index of a number": (mapped(model__norm__weight=7), rf"{INDEX}: weight_map\.{NORM} must be the name"),
    "index that leaves": (mapped(model__norm__weight="../b.safetensors"), rf"{INDEX}: weight_map\.{NORM} must be"),
    "index of no file": (mapped(model__norm__weight="c.safetensors"), rf"c\.safetensors: not found, .* {NORM}"),
    "index of the wrong file": (mapped(model__norm__weight="a.safetensors"), rf"a\.safetensors: .*contain .*{NORM}"),
    "index that leaves out": (mapped(model__norm__weight=None), rf"b\.safetensors: holds tensor {NORM}, which"),
    "shard missing": (shards(missing("b.safetensors")), r"b\.safetensors: not found, though"),
    "shard empty": (shards(written("b.safetensors", b"")), r"b\.safetensors: not a readable"),
    "shard cut": (shards(cut("b.safetensors", -64)), r"b\.safetensors: not a readable"),
    "native without a list": (converted(missing("orbax.json")), r"orbax\.json: not found"),
    "native with a cut list": (converted(cut("orbax.json", -9)), r"orbax\.json: not valid JSON"),
    "native with an empty list": (converted(written("orbax.json", "{}")), r"orbax\.json: must have digest, parameters"),
    "native without weights": (converted(largest(missing)), r"orbax/\S+: not found, though orbax\.json lists it"),
    "native with cut weights": (
        converted(largest(lambda file: cut(file, -1))), r"orbax/\S+: has \d+ bytes, expected \d+",
    ),
    "native with damaged weights": (
        converted(written("orbax/manifest.ocdbt", b"\0" * 115)), r"orbax: cannot be restored",
    ),
    "native of another shape": (
        converted(keys("config.json", vocab_size=300)),
        r"orbax: parameter embed has shape \[272, 32\], expected \[300, 32\]",
    ),
    "native of fewer layers": (
        converted(keys("config.json", num_hidden_layers=1)), r"orbax: parameter layer_1\.\S+ does not belong",
    ),
    "native of more layers": (
        converted(keys("config.json", num_hidden_layers=3)), r"orbax: parameter layer_2\.\S+ is missing",
    ),
}  # fmt: skip


@pytest.fixture
def signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_model_is_refused_in_one_line(
    kind: str, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    damage, message = DAMAGES[kind]
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    damage(model)
    monkeypatch.setattr(serve, "_serve", lambda *_: pytest.fail("the model was served"))
    assert main(["serve", *FREE_PORTS, "--model", str(model), "--cache-dir", "none"]) == 1
    *before, line = capsys.readouterr().err.splitlines()
    assert before in ([], ["Loading weights."])
    assert line.startswith("jaxchat: ") and re.search(message, line), line
