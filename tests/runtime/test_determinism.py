"""Families whose layers reduce in more ways than Llama's: all programs of an engine must agree bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from jaxchat.config import CpuMatmul, EngineConfig
from jaxchat.runtime.determinism import agreeing_decode_buckets, agreeing_prefill_buckets, prompts_agree
from jaxchat.runtime.load import load_runner
from tests.exhaustive import mostly_exhaustive
from tools.parity import checkpoints

pytestmark = pytest.mark.first

ROWS, CHUNKS = (2, 16), (32, 96)
CASES: tuple[str, ...] = ("gemma 2", "qwen 3 with experts, shares", "gemma 4 with experts", "gemma 4, shared keys")
ALL = [*((case, "native") for case in CASES), *((case, "xla") for case in CASES[:2])]


@pytest.mark.bits
@pytest.mark.parametrize(("case", "cpu_matmul"), mostly_exhaustive(ALL, [ALL[0], ALL[3], ALL[5]]))
@pytest.mark.usefixtures("greedy_sampler")
def test_programs_of_all_sizes_agree(tmp_path: Path, case: str, cpu_matmul: CpuMatmul) -> None:
    checkpoints.write(tmp_path, case)
    engine = EngineConfig(
        slots=ROWS[-1],
        decode_buckets=ROWS[:1],
        prefill_buckets=CHUNKS[1:],
        max_seq_len=256,
        cpu_matmul=cpu_matmul,
        determinism="fast",
    )
    runner = load_runner(tmp_path, engine, valid=checkpoints.VOCAB, text_digest="").runner
    assert prompts_agree(runner)
    assert agreeing_decode_buckets(runner) == ROWS
    assert agreeing_prefill_buckets(runner) == CHUNKS
