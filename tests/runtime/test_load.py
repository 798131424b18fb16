"""Loading takes the products that the machine can have."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.config import EngineConfig
from jaxchat.kernels.cpp import build
from jaxchat.runtime.load import Loaded, load_runner
from jaxchat.sampling.processors import register_logits_processor
from jaxchat.sampling.state import SamplingState
from jaxchat.types import PrefillSlice, PrefillWork, SamplingParams

SIZES = dict(slots=2, prefill_chunk=32, max_seq_len=64, prefill_buckets=(32,))


def loaded(model: Path, **options: Any) -> Loaded:
    return load_runner(model, EngineConfig(**SIZES, **options), valid=262, text_digest="")


@pytest.mark.usefixtures("greedy_sampler")
def test_products_are_part_of_the_fingerprint(tiny_model: Path) -> None:
    native, plain = (loaded(tiny_model, cpu_matmul=name) for name in ("native", "xla"))
    assert "matmul_f32_" in native.runner.programs["prefill[32]"].as_text()
    assert "matmul_f32_" not in plain.runner.programs["prefill[32]"].as_text()
    assert native.fingerprint != plain.fingerprint


@pytest.mark.usefixtures("greedy_sampler")
def test_without_a_compiler_xla_multiplies(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(build, "COMPILERS", ("no-such-compiler",))
    with caplog.at_level(logging.WARNING):
        plain = loaded(tiny_model, cache_dir=str(tmp_path))
    assert "no-such-compiler" in caplog.text
    assert "no-such-compiler" in plain.matmul_backend
    assert "matmul_f32_" not in plain.runner.programs["prefill[32]"].as_text()


@pytest.mark.usefixtures("greedy_sampler")
def test_weights_of_int8_take_their_own_products(tiny_model: Path) -> None:
    rounded = loaded(tiny_model, quantize="int8")
    assert "matmul_s8_" in rounded.runner.programs["decode[2]"].as_text()
    assert rounded.matmul_backend == "of int8 by kernels in C++"
    assert rounded.runner.params["embed"].values.dtype == "int8"


@pytest.mark.usefixtures("greedy_sampler")
def test_weights_of_int4_take_their_own_products_and_a_program_of_one_row(tiny_model: Path) -> None:
    rounded = loaded(tiny_model, quantize="int4")
    assert rounded.runner.decode_buckets[0] == 1
    assert "matmul_grouped_" in rounded.runner.programs["decode[1]"].as_text()
    assert rounded.matmul_backend == "of int4 by kernels in C++"
    params = rounded.runner.params
    sizes = [w.codes.shape[3] for w in (params["embed"], params["layer_0"]["mlp"]["down"])]
    assert sizes == [8, 4]


@pytest.mark.usefixtures("greedy_sampler")
def test_rounded_keys_and_values_take_their_own_kernel_and_less_memory(tiny_model: Path) -> None:
    rounded, plain = (loaded(tiny_model, kv_dtype=dtype) for dtype in ("int8", None))
    assert "attention_s8_" in rounded.runner.programs["decode[2]"].as_text()
    assert rounded.fingerprint != plain.fingerprint
    width = rounded.model.head_dim
    assert rounded.kv_bytes / plain.kv_bytes == (width + 4) / (4 * width)


@pytest.mark.usefixtures("greedy_sampler")
def test_instructions_are_part_of_the_fingerprint(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = loaded(tiny_model, cpu_matmul="xla")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
    assert loaded(tiny_model, cpu_matmul="xla").fingerprint != plain.fingerprint


@dataclass(frozen=True)
class Without:
    """Bans tokens, which a large constant of the program lists."""

    first: int

    def __call__(self, logits: jax.Array, state: SamplingState) -> jax.Array:
        """Returns logits that leave only tokens above `first`."""
        banned = np.arange(logits.shape[1]) <= self.first
        return jnp.where(banned, -jnp.inf, logits)


def test_logits_processors_are_part_of_the_fingerprint(tiny_model: Path) -> None:
    fingerprints = {loaded(tiny_model).fingerprint}
    for first in (50, 60):
        register_logits_processor("test-without", Without(first), replace=True)
        runner = loaded(tiny_model, logits_processors=("test-without",))
        fingerprints.add(runner.fingerprint)
        greedy, one = SamplingParams(temperature=0.0), np.ones(1, np.int32)
        work = PrefillWork((PrefillSlice(0, np.zeros(1, np.int32), 0, True, one, 0, greedy),))
        assert runner.runner.prefill(work).wait().tokens[0] > first
    assert len(fingerprints) == 3


def test_an_unknown_attention_backend_is_refused_before_weights_are_read(tiny_model: Path) -> None:
    stages: list[str] = []
    engine = EngineConfig(**SIZES, attention="flash")
    with pytest.raises(
        ValueError, match=r"unknown attention backend 'flash'.*known: native, ragged, tokamax, triton, xla"
    ):
        load_runner(tiny_model, engine, valid=262, text_digest="", report=lambda stage, *_: stages.append(stage))
    assert stages == []
