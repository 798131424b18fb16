"""Families whose layers reduce in more ways than Llama's: their decode programs must agree bit for bit all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from jaxchat.config import EngineConfig
from jaxchat.runtime.ladder import agreeing
from jaxchat.runtime.load import load_runner
from tools.parity import checkpoints


@pytest.mark.parametrize("case", ["gemma 2", "qwen 3", "qwen 3 with experts, shares"])
def test_programs_of_two_to_eight_rows_agree(tmp_path: Path, case: str) -> None:
    checkpoints.write(tmp_path, case)
    engine = EngineConfig(slots=8, chunk=64, prefill_chunks=(64,), context=256, determinism="fast")
    runner = load_runner(tmp_path, engine, valid=checkpoints.VOCAB, text_digest="").runner
    assert agreeing(runner) == (2, 4, 8)
