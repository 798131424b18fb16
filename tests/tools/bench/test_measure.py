"""A tiny model through its own engine and over gRPC, end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from jaxchat.models.config import ModelConfig
from jaxchat.models.families import read_config
from jaxchat.models.param_specs import param_count
from tools.bench.cases import Case
from tools.bench.measure import Bench, Measured, PeerSetup
from tools.bench.model import make
from tools.bench.peers import PEERS, Peer, Worker
from tools.bench.probe import Limits, Probe, floor_seconds
from tools.bench.shapes import SHAPES
from tools.bench.workers.gguf_form import gguf_name

TINY = ModelConfig(
    vocab_size=700,
    num_layers=1,
    num_heads=2,
    num_kv_heads=1,
    embed_dim=32,
    mlp_dim=64,
    head_dim=16,
    max_seq_len=8192,
    tie_embeddings=True,
    qkv_bias=True,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("bench") / "tiny", TINY, "float32")


def bench(model: Path, tmp_path: Path) -> Bench:
    return Bench(model, TINY, "float32", tmp_path, Probe("float32", megabytes=4, width=64))


def test_weights_are_counted() -> None:
    assert abs(param_count(SHAPES["0.5B"]) - 494e6) < 1e6  # as Qwen2.5-0.5B states


def test_the_model_has_the_shape_that_was_asked_for(model: Path) -> None:
    assert read_config(model) == TINY


@pytest.mark.exhaustive
def test_engine_and_grpc_are_measured(model: Path, tmp_path: Path) -> None:
    cases = (Case.parse("prefill-40"), Case.parse("decode-2"))
    ours = [PeerSetup(peer=PEERS[name], slots=2, cases=cases) for name in ("engine", "grpc")]
    made = bench(model, tmp_path)
    found = list(made.run(ours, 1))
    assert not made.failures
    assert [(record.label.split(",")[0], record.case) for record in found] == [
        ("jaxchat engine", "prefill-40"),
        ("jaxchat engine", "decode-2"),
        ("jaxchat grpc", "prefill-40"),
        ("jaxchat grpc", "decode-2"),
    ]
    for record in found:
        assert 0 <= record.others <= 1
        assert record.figures["rate"] > 0 and 0 < record.figures["roofline"] < 1


def test_one_who_fails_is_named_and_not_tried_again(model: Path, tmp_path: Path) -> None:
    broken = Peer(name="broken", worker="no_such_worker", packages=())
    made = bench(model, tmp_path)
    assert list(made.run([PeerSetup(peer=broken, slots=1, cases=(Case.parse("decode-1"),))], 2)) == []
    assert "no_such_worker" in made.failures["jaxchat broken, 1 slots"]


def test_the_floor_is_of_memory_for_few_rows_and_of_products_for_many() -> None:
    limits = Limits(bandwidth=4e6, matmul=2e7)
    assert floor_seconds(1_000_000, "float32", 1, limits) == pytest.approx(1.0)
    assert floor_seconds(1_000_000, "bfloat16", 1, limits) == pytest.approx(0.5)
    assert floor_seconds(1_000_000, "float32", 100, limits) == pytest.approx(10.0)


def test_tensors_get_the_names_of_llama_cpp() -> None:
    assert gguf_name("model.layers.7.self_attn.q_proj.bias") == "blk.7.attn_q.bias"
    assert gguf_name("model.embed_tokens.weight") == "token_embd.weight"


class Restless(Bench):
    """Others take less of the processors from one try to the next."""

    shares = (0.5, 0.3, 0.01, 0.0)

    def _measure(self, worker: Worker, case: Case, number: int) -> Measured:
        return Measured({"rate": float(number)}, Limits(1.0, 1.0), self.shares[number])


@pytest.mark.parametrize(("tries", "taken"), [(1, 0.0), (2, 1.0), (4, 2.0)])
def test_the_calmest_try_counts_and_a_calm_one_is_the_last(
    model: Path, tmp_path: Path, tries: int, taken: float
) -> None:
    probe = Probe("float32", megabytes=4, width=64)
    made = Restless(model, TINY, "float32", tmp_path, probe, tries=tries)
    (record,) = made.run([PeerSetup(peer=PEERS["engine"], slots=1, cases=(Case.parse("decode-1"),))], 1)
    assert record.figures == {"rate": taken}
