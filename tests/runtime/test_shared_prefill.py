"""Prompts that share prefill steps: tokens and log-probabilities have the bits that each prompt gets alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxchat.arithmetic import cdiv
from jaxchat.config import EngineConfig
from jaxchat.runtime.load import load_runner
from jaxchat.runtime.runner import Runner
from jaxchat.sampling.mask import mask_words
from jaxchat.types import DecodeWork, PrefillSlice, PrefillWork, SamplingParams, StepResult
from tests.exhaustive import mostly_exhaustive

pytestmark = [pytest.mark.first, pytest.mark.bits]

STEPS, VOCAB, SLOTS, BUCKET = 3, 262, 8, 64
FORMS: dict[str, dict[str, Any]] = {
    "f32": {},
    "bf16 by XLA": {"dtype": "bfloat16", "cpu_matmul": "xla"},
    "KV in int8": {"kv_dtype": "int8"},
}
SAMPLINGS = (
    SamplingParams(temperature=0.0, logprobs=True),
    SamplingParams(seed=7, top_p=0.9, logprobs=True),
    SamplingParams(temperature=0.0, logit_bias=((5, 80.0), (6, 79.5)), logprobs=True),
    SamplingParams(seed=2**63, repetition_penalty=1.3, frequency_penalty=0.5, logprobs=True),
    SamplingParams(seed=1, top_k=4, min_p=0.01, logprobs=True),
)
LENGTHS = (5, 20, 1, 17, 100)


@pytest.fixture(scope="module", params=mostly_exhaustive(FORMS, ["f32"]))
def runner(tiny_model: Path, request: pytest.FixtureRequest) -> Runner:
    engine = EngineConfig(
        slots=SLOTS,
        prefill_chunk=BUCKET,
        prefill_buckets=(),
        decode_buckets=(),
        max_seq_len=128,
        **FORMS[request.param],
    )
    return load_runner(tiny_model, engine, valid=VOCAB, text_digest="").runner


def part(runner: Runner, slot: int, start: int, count: int, choice: int = 0) -> PrefillSlice:
    """Returns `count` tokens of the prompt of a slot; the prompts are random, and the fourth has a token mask."""
    page, table = runner.sizes.page_size, runner.sizes.table
    prompt = np.random.default_rng(slot).integers(0, VOCAB, LENGTHS[slot]).astype(np.int32)
    last = start + count >= len(prompt)
    mask = np.zeros(mask_words(runner.sizes.vocab), np.uint32)
    mask[3] = 0xF0F
    return PrefillSlice(
        slot=slot,
        tokens=prompt[start : start + count],
        start=start,
        last=last,
        pages=1 + slot * table + np.arange(cdiv(min(start + count, len(prompt)) + STEPS, page), dtype=np.int32),
        choice=choice,
        sampling=SAMPLINGS[slot],
        token_mask=mask if last and slot == 3 else None,
        prompt=prompt if last else None,
    )


def bits(result: StepResult, row: int) -> bytes:
    return b"".join(array[row].tobytes() for array in vars(result).values())


def decoded(runner: Runner, slots: list[int]) -> list[list[bytes]]:
    """Returns the bits of the next steps of each slot."""
    work = DecodeWork(np.array(slots, np.int32), np.full(len(slots), -1, np.int32))
    steps = [runner.decode(work).wait() for _ in range(STEPS)]
    return [[bits(step, row) for step in steps] for row in range(len(slots))]


def alone(runner: Runner, slot: int) -> list[bytes]:
    for start in range(0, LENGTHS[slot], BUCKET):
        first = runner.prefill(PrefillWork((part(runner, slot, start, BUCKET),))).wait()
    return [bits(first, 0), *decoded(runner, [slot])[0]]


def test_every_prompt_of_a_step_gets_the_bits_that_it_gets_alone(runner: Runner) -> None:
    expected = [alone(runner, slot) for slot in range(len(LENGTHS))]
    assert len({answer[0] for answer in expected}) == len(LENGTHS)
    short = [part(runner, slot, 0, LENGTHS[slot]) for slot in (1, 3, 0)]
    first = runner.prefill(PrefillWork((*short, part(runner, 4, 0, 16)))).wait()
    runner.prefill(PrefillWork((part(runner, 4, 16, 48),))).wait()
    second = runner.prefill(PrefillWork((part(runner, 4, 64, 36), part(runner, 2, 0, 1)))).wait()
    started = {1: bits(first, 0), 3: bits(first, 1), 0: bits(first, 2), 4: bits(second, 0), 2: bits(second, 1)}
    answers = decoded(runner, list(range(len(LENGTHS))))
    for slot, answer in enumerate(answers):
        assert [started[slot], *answer] == expected[slot], f"prompt {slot}"


def test_a_prompt_reads_what_another_one_writes_in_the_same_step(runner: Runner) -> None:
    slot = 4
    whole = part(runner, slot, 0, LENGTHS[slot])
    runner.prefill(PrefillWork((part(runner, slot, 0, BUCKET),))).wait()
    expected = runner.prefill(PrefillWork((part(runner, slot, BUCKET, BUCKET),))).wait()
    for page in whole.pages:  # what the pages held is gone
        other = PrefillSlice(7, np.full(1, page, np.int32), 0, False, np.array([page], np.int32), 0, SAMPLINGS[0])
        runner.prefill(PrefillWork((other,))).wait()
    runner.prefill(PrefillWork((part(runner, slot, 0, 48),))).wait()
    parts = part(runner, slot, 48, 32), part(runner, slot, 80, 20)
    together = runner.prefill(PrefillWork(parts)).wait()
    assert bits(together, 1) == bits(expected, 0)
