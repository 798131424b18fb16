"""The benchmark on GPUs, as far as a CPU can run it: its peers agree, and its shares are right."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.kernels.attention import gpu_flash
from jaxchat.kernels.attention.ragged_batch import RaggedBatch
from jaxchat.kernels.attention.spec import PLAIN
from jaxchat.planning.model_shapes import read_shape
from tests.greedy import greedy
from tools.bench.gpu import engine, peer
from tools.bench.gpu.attention import chunk_gathered, contiguous, gathered
from tools.bench.gpu.report import Roofline, table

TINY = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 200,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}


@pytest.fixture
def args(tmp_path: Path) -> argparse.Namespace:
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    parser = argparse.ArgumentParser()
    engine.add_arguments(parser)
    words = ["--users", "1", "3", "--prompt", "40", "--steps", "3", "--rounds", "1", "--max-seq-len", "64"]
    return parser.parse_args(["--model", str(tmp_path / "config.json"), *words])


@pytest.mark.exhaustive
@pytest.mark.parametrize("quantize", [None, "int4"])
def test_our_steps(args: argparse.Namespace, monkeypatch: pytest.MonkeyPatch, quantize: str | None) -> None:
    monkeypatch.setattr(engine, "probe", dict)
    args.quantize, args.xla_products = quantize, True
    monkeypatch.setattr(engine, "sample", greedy)  # compiles soon
    args.prefill_chunk, args.page, args.dtype, args.attention, args.samplings = 32, 16, "bfloat16", "auto", ["greedy"]
    found = engine.measure(args)
    assert found["prefill"] > 0 and found["decode"].keys() == {"1 greedy", "3 greedy"}
    assert all(seconds > 0 for seconds in found["decode"].values())


def test_the_steps_of_transformers(args: argparse.Namespace) -> None:
    args.compiled, args.device = False, "cpu"
    *_, found = peer.measure(args)
    assert found["device"] == "cpu"
    assert found["prefill"] > 0 and found["decode"].keys() == {"1 greedy", "3 greedy"}


def test_ways_to_attend_agree() -> None:
    H, K, d, page, rows = 4, 2, 64, 16, 3
    rng = np.random.default_rng(0)
    q, keys, values = (
        jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((rows, H, d), (K, 13, page, d), (K, 13, page, d))
    )
    table = jnp.asarray(rng.permutation(12).reshape(rows, 4) + 1, jnp.int32)
    lengths = jnp.array([5, 16, 60])
    expected = gpu_flash.decode(q, (keys, values), table, lengths, PLAIN, interpret=True)
    slots = [x[:, table].transpose(1, 2, 3, 0, 4).reshape(rows, -1, K, d) for x in (keys, values)]
    np.testing.assert_allclose(gathered(q, keys, values, table, lengths, "xla"), expected, atol=1e-5)
    np.testing.assert_allclose(contiguous(q, *slots, table, lengths, "xla"), expected, atol=1e-5)
    chunk = jnp.asarray(rng.normal(size=(16, H, d)), jnp.float32)
    places = table[0], jnp.int32(32)
    batch = RaggedBatch.single(*places, len(chunk))
    ours = jax.jit(partial(gpu_flash.prefill, spec=PLAIN, interpret=True))(chunk, (keys, values), batch)
    np.testing.assert_allclose(chunk_gathered(chunk, keys, values, *places, "xla"), ours, atol=1e-5)


def test_shares_are_of_the_chips_rates() -> None:
    model = read_shape("llama-3-8b")
    read = 2 * (8_030_261_248 - 128_256 * 4096)  # bytes of weights but for the embedding, of which a few rows are read
    kv = 2 * 2 * 32 * 8 * 128 * 1000
    seconds = (read + kv) / 4.8e12
    assert Roofline(model, "NVIDIA H200").step(1, 1, 1000).floor == pytest.approx(seconds, rel=1e-3)
    text = table(model, "NVIDIA H200", {"ours": {"prefill": 1.0, "decode": {"1 greedy": 2 * seconds}}}, 1000, 0)
    assert "(50 %)" in text.splitlines()[-1]
    layers = read - 2 * 128_256 * 4096  # the head has 8 bits and a scale of f32 for each output
    rounded = layers / 2 * (4 + 16 / 32) / 8 + 128_256 * (4096 + 4)
    int4 = Roofline(model, "NVIDIA H200", "int4")
    assert int4.step(1, 1, 1000).floor == pytest.approx((rounded + kv) / 4.8e12, rel=1e-2)
    with pytest.raises(ValueError, match="none of"):
        Roofline(model, "cpu").step(1, 1, 1000)
