"""The compiled programs: what they alias, that their digests are stable, and that a mesh changes only the speed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxchat.config import EngineConfig
from jaxchat.runtime.determinism import agreeing_decode_buckets, agreeing_prefill_buckets, prompts_agree, rows_agree
from jaxchat.runtime.load import Loaded, load_runner
from jaxchat.runtime.packing import PackedLayout
from jaxchat.runtime.programs import prefill_layout
from jaxchat.runtime.start_record import StartRecord
from jaxchat.types import (
    DecodeWork,
    PrefillSlice,
    PrefillWork,
    SamplingParams,
    StepResult,
    SwapInWork,
    SwapOutWork,
)
from tests.exhaustive import mostly_exhaustive

pytestmark = pytest.mark.first

OPTIONS = dict(slots=4, prefill_chunk=32)
FEW = dict(decode_buckets=(4,), prefill_buckets=(32,))  # one program of each kind


def load(directory: Path, **options) -> Loaded:
    return load_runner(directory, EngineConfig(**{**OPTIONS, **options}), valid=262, text_digest="")


@pytest.fixture(scope="module")
def eight(tiny_model: Path) -> Loaded:
    """An engine with decode programs of three row counts."""
    return load(tiny_model, slots=8, prefill_buckets=(32,))


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> Loaded:
    return load(tiny_model)


GREEDY = SamplingParams(temperature=0.0, logprobs=True)


def begin(loaded: Loaded, prompt: np.ndarray, slot: int, pages: np.ndarray, sampling: SamplingParams = GREEDY) -> int:
    """Prefills a sequence, greedy and with log-probabilities by default; returns its first token."""
    chunk = loaded.sizes.chunk
    for start in range(0, len(prompt), chunk):
        tokens = prompt[start : start + chunk]
        last = start + len(tokens) == len(prompt)
        part = PrefillSlice(slot, tokens, start, last, pages, 0, sampling, prompt=prompt if last else None)
        result = loaded.runner.prefill(PrefillWork((part,))).wait()
    return int(result.tokens[0])


def pages_for(loaded: Loaded, tokens: int, first: int = 1) -> np.ndarray:
    return np.arange(first, first + tokens // loaded.sizes.page_size + 1, dtype=np.int32)


def decode(loaded: Loaded, slots: list[int], rows: int | None = None) -> StepResult:
    work = DecodeWork(np.array(slots, np.int32), np.full(len(slots), -1, np.int32))
    return (loaded.runner.decode_in(rows, work) if rows else loaded.runner.decode(work)).wait()


def answer(loaded: Loaded, prompt: np.ndarray, count: int = 12) -> list[int]:
    """Returns greedy tokens of one sequence in slot 2."""
    actual = [begin(loaded, prompt, 2, pages_for(loaded, len(prompt) + count))]
    return actual + [int(decode(loaded, [2]).tokens[0]) for _ in range(count - 1)]


PRECISIONS = {
    "f32": FEW,
    "f32 by XLA": {**FEW, "cpu_matmul": "xla"},
    "bf16": {**FEW, "dtype": "bfloat16"},
    "bf16 by XLA": {**FEW, "dtype": "bfloat16", "cpu_matmul": "xla"},
    "int8": {**FEW, "quantize": "int8"},
    "int4": {**FEW, "quantize": "int4"},
    "KV in int8": {**FEW, "kv_dtype": "int8"},
    "KV in int8 by XLA": {**FEW, "kv_dtype": "int8", "cpu_matmul": "xla"},
}


@pytest.mark.parametrize("precision", mostly_exhaustive(PRECISIONS, ["f32", "bf16"]))
def test_pages_and_slots_are_updated_in_place(tiny_model: Path, precision: str, request: pytest.FixtureRequest) -> None:
    if precision != "f32":  # one case with the state of the real sampler is enough
        request.getfixturevalue("greedy_sampler")
    runner = load(tiny_model, pages=1500, **PRECISIONS[precision]).runner  # large against all else of so small a model
    donated = sum(leaf.nbytes for leaf in jax.tree.leaves((runner.pages, runner.slots)))
    pages = jax.tree.leaves(runner.pages)
    shape = re.escape(str(list(pages[0].shape)).replace(" ", ""))
    moved = re.compile(rf"= \w+{shape}\S* (?:copy|convert|transpose)\(")
    for name, program in runner.programs.items():
        memory = program.memory_analysis()
        assert memory.alias_size_in_bytes >= donated, name
        assert memory.temp_size_in_bytes < sum(leaf.nbytes for leaf in pages) / 2, name
        assert not moved.search(program.as_text()), name


@pytest.mark.usefixtures("greedy_sampler")
def test_fingerprints_name_the_numbers(tiny_model: Path) -> None:
    settings: list[dict[str, Any]] = [{}, {}, {"slots": 8}, {"dtype": "bfloat16"}]
    first, again, *others = (load(tiny_model, **{**FEW, **changes}).fingerprint for changes in settings)
    assert first == again and len({first, *others}) == 3


@pytest.mark.usefixtures("greedy_sampler")
def test_a_second_start_finds_its_programs_and_is_the_same(tiny_model: Path, tmp_path: Path) -> None:
    script = (
        "import sys, jax; from pathlib import Path; from jaxchat.config import EngineConfig; hits = []\n"
        "jax.monitoring.register_event_listener(lambda e, **_: hits.append(e))\n"
        "from jaxchat.runtime.load import load_runner\n"
        "from tests.greedy import sample_greedily; sample_greedily()\n"
        "from tests.runtime.test_runner import FEW, OPTIONS\n"
        "e = EngineConfig(**OPTIONS, **FEW, cache_dir=sys.argv[2])\n"
        "r = load_runner(Path(sys.argv[1]), e, valid=262, text_digest='')\n"
        "print(r.fingerprint, hits.count('/jax/compilation_cache/cache_misses'))\n"
    )
    command = [sys.executable, "-c", script, str(tiny_model), str(tmp_path)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(2)]
    assert int(runs[0][1]) > 0 and int(runs[1][1]) == 0
    assert runs[0][0] == runs[1][0] == load(tiny_model, **FEW).fingerprint


# The model has 2 KV heads, so that four devices hold each of them twice.
@pytest.mark.parametrize("devices", mostly_exhaustive([2, 4], [4]))
def test_more_devices_give_the_same_answer(tiny_model: Path, loaded: Loaded, devices: int) -> None:
    prompt = np.random.default_rng(0).integers(0, 256, 75).astype(np.int32)
    script = (
        "import sys, numpy as np; from pathlib import Path; import tests.runtime.test_runner as t\n"
        "from tests.greedy import sample_greedily; sample_greedily(); n = int(sys.argv[2])\n"
        "found = t.load(Path(sys.argv[1]), tensor_parallel=n, **t.FEW)\n"
        "kernel = found.runner.params['layer_0']['attention']['qkv']\n"
        "assert kernel.addressable_shards[0].data.size * n == kernel.size\n"
        "print(t.answer(found, np.random.default_rng(0).integers(0, 256, 75).astype(np.int32)))\n"
    )
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    command = [sys.executable, "-c", script, str(tiny_model), str(devices)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **flags}).stdout
    assert output.strip() == str(answer(loaded, prompt))


def test_prefill_then_decode_agrees_with_prefill_alone(loaded: Loaded) -> None:
    prompt = np.random.default_rng(4).integers(0, 256, 40).astype(np.int32)
    tokens = answer(loaded, prompt, 8)
    longer = np.concatenate([prompt, np.array(tokens[:-1], np.int32)])
    assert answer(loaded, longer, 1) == tokens[-1:]


@pytest.mark.bits
def test_a_swapped_sequence_goes_on_elsewhere_bit_for_bit(eight: Loaded) -> None:
    prompt = np.random.default_rng(6).integers(0, 256, 150).astype(np.int32)
    penalised = replace(GREEDY, repetition_penalty=1.5)  # the prompt's tokens must be kept too
    begin(eight, prompt, 1, pages := pages_for(eight, 170), penalised)
    expected = [vars(decode(eight, [1])) for _ in range(8)]
    begin(eight, prompt, 1, pages, penalised)
    actual = [vars(decode(eight, [1])) for _ in range(4)]
    saved = eight.runner.swap_out(SwapOutWork(1, pages)).wait()
    begin(eight, prompt[::-1], 1, pages)  # another sequence takes slot and pages
    begin(eight, prompt[:32], 0, moved := pages_for(eight, 170, first=40))  # and cached the first chunk
    eight.runner.swap_in(SwapInWork(3, moved, 2, saved))
    actual += [vars(decode(eight, [3])) for _ in range(4)]
    for one, other in zip(expected, actual, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_the_prompt_counts_for_the_repetition_penalty_from_the_first_token_on(loaded: Loaded) -> None:
    prompt = np.random.default_rng(7).integers(0, 256, 75).astype(np.int32)  # three chunks
    pages = pages_for(loaded, 90)
    for penalty, among in ((100.0, False), (0.01, True)):
        first = begin(loaded, prompt, 0, pages, replace(GREEDY, repetition_penalty=penalty))
        tokens = [first, *(int(decode(loaded, [0]).tokens[0]) for _ in range(6))]
        assert [token in prompt for token in tokens] == [among] * 7
        assert among or len({*tokens}) == 7


@pytest.mark.bits
def test_decode_programs_of_all_row_counts_give_the_same_bits(eight: Loaded) -> None:
    assert eight.runner.decode_buckets == (2, 4, 8)
    prompts = np.random.default_rng(8).integers(0, 256, (3, 90)).astype(np.int32)
    seen = []
    for rows in (4, 8):
        for slot, prompt in enumerate(prompts):
            begin(eight, prompt, slot, pages_for(eight, 100, first=1 + 10 * slot))
        seen.append([vars(decode(eight, [0, 1, 2], rows)) for _ in range(6)])
    for one, other in zip(*seen, strict=True):
        assert all(one[name].tobytes() == other[name].tobytes() for name in one)


@pytest.mark.usefixtures("greedy_sampler")
def test_a_decode_program_that_disagrees_is_not_used(tiny_model: Path) -> None:
    runner = load(tiny_model, slots=8, prefill_buckets=(32,)).runner
    exact = runner.programs["decode[2]"]
    inexact = jax.tree.map(lambda w: w * np.float32(1 + 1e-6), runner.params)
    runner.programs["decode[2]"] = lambda params, *rest: exact(inexact, *rest)
    assert agreeing_decode_buckets(runner) == (4, 8)


def test_rows_that_disagree_are_noticed(tiny_model: Path) -> None:
    runner = load(tiny_model).runner
    assert rows_agree(runner)
    exact = runner.programs["decode[4]"]

    def inexact(*given: Any) -> tuple[Any, Any, jax.Array]:
        pages, slots, output = exact(*given)
        return pages, slots, output.at[-1].add(1)  # the last bit of what the last row reports

    runner.programs["decode[4]"] = inexact
    assert not rows_agree(runner)


def test_prompts_that_change_each_other_are_noticed(tiny_model: Path) -> None:
    runner = load(tiny_model, prefill_buckets=(64,), determinism="fast").runner
    assert prompts_agree(runner) and agreeing_prefill_buckets(runner) == (32, 64)
    exact = dict(runner.programs)

    def inexact(size: int) -> Any:
        """Returns a program that changes the last bit of all values where its step has a second slice."""
        layout = prefill_layout(runner.sizes, size)

        def step(*given: Any) -> tuple[Any, Any, jax.Array]:
            bounds = layout.host_views(np.array(given[3]))["bounds"]
            pages, slots, output = exact[f"prefill[{size}]"](*given)
            return pages, slots, output + int(bounds[2] > bounds[1])

        return step

    runner.programs["prefill[64]"] = inexact(64)
    assert agreeing_prefill_buckets(runner) == (32,)
    runner.programs["prefill[32]"] = inexact(32)
    assert not prompts_agree(runner)


def test_devices_whose_rows_disagree_are_refused(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxchat.runtime.load.rows_agree", lambda runner: False)
    monkeypatch.setattr(StartRecord, "agreement", lambda *_: None)  # of earlier tests
    with pytest.raises(ValueError, match=r"determinism exact: .* depend on its slot"):
        load(tiny_model)
    monkeypatch.undo()
    monkeypatch.setattr("jaxchat.runtime.load.prompts_agree", lambda runner: False)
    monkeypatch.setattr(StartRecord, "agreement", lambda *_: None)
    with pytest.raises(ValueError, match=r"determinism exact: .* depend on other prompts"):
        load(tiny_model)
    load(tiny_model, determinism="fast")  # is not refused


def test_sizes_that_do_not_fit_are_refused(tiny_model: Path) -> None:
    with pytest.raises(ValueError, match="max_seq_len must be at most the model's 1024"):
        load(tiny_model, max_seq_len=2048)
    with pytest.raises(ValueError, match="pages must be more than 64"):
        load(tiny_model, pages=64)
    with pytest.raises(ValueError, match="tensor_parallel 2 needs 2 devices"):
        load(tiny_model, tensor_parallel=2)


def test_packing_round_trips_the_bits() -> None:
    layout = PackedLayout((("a", (), "float32"), ("b", (2,), "uint32"), ("c", (2, 2), "int32")))
    packed = layout.pack(a=-1.5, b=np.array([2**32 - 1, 7], np.uint32), c=np.arange(4).reshape(2, 2))
    given = jax.jit(layout.unpack)(packed)
    assert float(given["a"]) == -1.5
    assert given["b"].tolist() == [2**32 - 1, 7] and given["c"].tolist() == [[0, 1], [2, 3]]


def test_compiles_of_steps_are_counted_and_those_of_other_engines_are_not(tiny_model: Path) -> None:
    first = load(tiny_model)
    decode(first, [])
    with ThreadPoolExecutor(1) as other:
        other.submit(load, tiny_model).result()
    assert first.runner.compiles_after_ready == 0
    jax.jit(lambda x: x * 3 + 1)(np.ones(7))
    assert first.runner.compiles_after_ready == 1
