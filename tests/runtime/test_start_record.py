"""What one start leaves for the next."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from jaxchat.config import EngineConfig
from jaxchat.runtime import load
from jaxchat.runtime.start_record import Agreement, StartRecord

AGREEMENT = Agreement((32, 64), (2, 4))


def test_what_was_found_is_found_again(tmp_path):
    record = StartRecord(tmp_path, ["a", "b"])
    assert not record.exists and record.agreement("x") is None
    record.write("x", AGREEMENT)
    assert StartRecord(tmp_path, ["a", "b"]).exists and not StartRecord(tmp_path, ["ab"]).exists
    assert record.agreement("x") == AGREEMENT
    assert record.agreement("y") is None
    record.write("", None)
    assert record.exists and record.agreement("x") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"identity": "x"}', '{"identity": "x", "chunks": 3, "rows": []}'])
def test_a_damaged_record_is_none(tmp_path, text):
    record = StartRecord(tmp_path, [])
    record.write("x", AGREEMENT)
    [path] = tmp_path.iterdir()
    path.write_text(text)
    assert record.agreement("x") is None


def test_where_nothing_can_be_kept_nothing_is():
    for folder in (None, Path("/dev/null/x")):
        record = StartRecord(folder, [])
        record.write("x", AGREEMENT)
        assert not record.exists and record.agreement("x") is None


def loaded(model: Path, **options: object) -> tuple[load.Loaded, list[str]]:
    """Loads a model and returns the stages of loading."""
    stages: list[str] = []
    engine = EngineConfig(slots=2, prefill_chunk=32, prefill_buckets=(64,), max_seq_len=96, **options)
    actual = load.load_runner(
        model, engine, valid=262, text_digest="", report=lambda stage, done, total: stages.append(stage)
    )
    return actual, stages


@pytest.mark.usefixtures("greedy_sampler")
def test_a_second_start_compares_no_programs(tiny_model, tmp_path, monkeypatch):
    first, _ = loaded(tiny_model)
    chunks, shapes = first.runner.prefill_buckets, first.runner.decode_buckets
    with monkeypatch.context() as patch:
        patch.setattr(load, "rows_agree", None)  # must not be called
        again, stages = loaded(tiny_model)
    assert "loading programs" in stages and not {"compiling programs", "comparing programs"} & {*stages}
    assert (again.fingerprint, again.runner.prefill_buckets, again.runner.decode_buckets) == (
        first.fingerprint,
        chunks,
        shapes,
    )
    other = shutil.copytree(tiny_model, tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    save_file({name: 2 * tensor for name, tensor in tensors.items()}, other / "model.safetensors")
    changed, stages = loaded(other)
    assert "loading programs" in stages and "comparing programs" in stages
    assert changed.fingerprint != first.fingerprint
