"""Plans against arithmetic by hand, and against the memory of a real engine."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from fractions import Fraction

import jax
import numpy as np
import pytest

from jaxchat.arithmetic import cdiv
from jaxchat.errors import ModelError
from jaxchat.planning.cost_model import Cost
from jaxchat.planning.hardware import SLICES, parse_topology
from jaxchat.planning.model_shapes import MODEL_SHAPES, read_model, read_shape
from jaxchat.planning.planner import make_plan, plan_on, suggest_config
from jaxchat.runtime.load import load_runner
from jaxchat.units import memory_size
from tests.test_html import Parsed


def planned(model, topology, **options):
    chips = parse_topology(topology)
    return make_plan(read_shape(model), chips, suggest_config(chips, **options))


def test_an_8b_model_on_eight_chips():
    plan = planned("llama-3-8b", "v5e:2x4", slots=16, max_seq_len=4096)
    layer = 4096 * 128 * (32 + 8 + 8) + 32 * 128 * 4096 + 3 * 4096 * 14_336
    vocab = cdiv(128_256, 1024) * 1024  # whole groups of 128 tokens on each of 8 devices
    weights = (32 * layer + 2 * vocab * 4096) // 8 + (2 * 32 + 1) * 4096
    assert plan.parameters == 8_030_261_248  # as published
    assert plan.memory.weights == 2 * weights
    assert plan.per_token == 2 * 32 * 128 * 2  # one KV head on each device
    assert plan.full_capacity == 16 * 4096 and plan.capacity > plan.full_capacity and plan.fits
    assert plan.memory.pages == plan.per_token * (plan.full_capacity + 128)
    assert plan.decode_full.weights == pytest.approx((2 * weights - 2 * vocab * 4096 // 8) / 819e9)
    assert plan.decode_full.kv == pytest.approx(16 * 2048 * plan.per_token / 819e9)
    sums = 2 * 32 * 2 * 16 * 4096 * 2 * 7 / 8 / 100e9  # bf16
    assert plan.decode_full.seconds == pytest.approx(plan.decode_full.floor + sums)
    assert plan.decode_full.rate == pytest.approx(16 / plan.decode_full.seconds)


def test_rounded_keys_and_values_take_a_byte_and_their_scale():
    rounded, plain = (planned("llama-3-8b", "h200:1", kv_dtype=dtype) for dtype in ("int8", None))
    assert plain.per_token == 2 * 32 * 8 * 128 * 2 and rounded.per_token == 2 * 32 * 8 * (128 + 4)
    assert rounded.decode_full.kv / plain.decode_full.kv == pytest.approx(132 / 256)
    assert rounded.capacity / plain.capacity == pytest.approx(256 / 132, rel=1e-3)
    assert planned("llama-3-8b", "h200:2", kv_dtype="int8").per_token == rounded.per_token / 2  # scales are split too
    assert "kv_dtype int8 has a scale" in planned("llama-3-8b", "v5e:2x4", kv_dtype="int8").attention


def test_prefill_is_bound_by_products():
    plan = planned("llama-3-8b", "h200:1")
    matrices, scores = 2 * 512 * (plan.parameters - 128_256 * 4096), 4 * 32 * 32 * 128 * 512 * 4096
    assert plan.prefill.seconds == pytest.approx((matrices + scores) / 989e12, rel=1e-3)
    assert plan.prefill.floor < plan.prefill.seconds / 2


def test_a_70b_model_needs_a_larger_slice_and_copies_of_its_kv_heads():
    small, large = (planned("llama-3-70b", f"v5e:{grid}") for grid in ("2x4", "4x4"))
    assert not small.fits and small.capacity == 0 and small.smallest_fit == "v5e:4x4"
    assert large.fits and large.engine.tensor_parallel == 16
    assert large.per_token == small.per_token  # 8 KV heads twice over 16 devices
    assert large.capacity < large.full_capacity and large.engine.pages == large.capacity // 128 + 1
    assert large.memory.total <= large.topology.chip.memory


def test_a_mixture_of_experts_reads_what_its_tokens_choose():
    plan = planned("qwen3-30b-a3b", "v5e:2x4")
    expert, count = 3 * 2048 * 768, 48 * 128
    others = plan.parameters - expert * count - 151_936 * 2048
    assert plan.parameters == pytest.approx(30.53e9, rel=1e-3)  # as published, 3.3 of them active
    assert others + 8 * 48 * expert + 151_936 * 2048 == pytest.approx(3.35e9, rel=0.01)
    others += 48 * 2 * 4 * 128 * 2048  # 4 KV heads on 8 devices, each twice
    others += 48 * 2048 * 128 * 7  # every device has all routers
    one, many = (2 * (others + count * expert * share) / 8 / 819e9 for share in (8 / 128, 1 - (15 / 16) ** 64))
    assert plan.decode_one.weights == pytest.approx(one, rel=0.01)
    assert plan.decode_full.weights == pytest.approx(many, rel=0.01)


def test_prefill_reads_an_expert_for_each_of_its_blocks():
    plan = planned("qwen3-30b-a3b", "v5e:2x4")  # 512 tokens: hardly an expert gets more than the 64 rows of one block
    assert plan.prefill.weights < plan.prefill.seconds < 2 * plan.prefill.weights


def test_a_model_that_does_not_divide_by_all_devices_gets_replicas():
    plan = planned("qwen2.5-7b", "v5e:2x4")  # 28 heads
    assert (plan.replicas, plan.engine.tensor_parallel, plan.engine.data_parallel) == (2, 4, 2)
    plan = planned("qwen2.5-7b", "v5e:4x8")  # hosts of four
    assert (plan.replicas, plan.engine.tensor_parallel, plan.engine.data_parallel) == (8, 4, 1)


@pytest.mark.parametrize(
    ("slice_", "devices", "hosts"),
    [
        ("v5e:2x4", 8, 1),
        ("v5e:4x4", 8, 2),
        ("v5e:4x4", 4, 1),
        ("v5e:4x4", 16, 4),
        ("v5p:2x2x2", 8, 2),
        ("h200:8", 8, 1),
    ],
)
def test_hosts_of_larger_slices_have_four_devices(slice_: str, devices: int, hosts: int):
    assert parse_topology(slice_).hosts(devices) == hosts


def test_a_slice_too_small_for_one_sequence_says_so():
    plan = planned("llama-3.1-8b", "v5e:1x1", max_seq_len=131_072)
    assert not plan.fits and plan.smallest_fit == "v5e:2x2"


def test_a_known_shape_can_be_planned_on_every_kind_of_slice():
    slices = [parse_topology(f"{kind}:{grid}") for kind, grids in SLICES.items() for grid in grids[:4]]
    for topology, name in zip(slices, itertools.cycle(MODEL_SHAPES), strict=False):
        plan = plan_on(read_shape(name), topology, suggest_config(topology))
        assert plan.replicas * plan.engine.tensor_parallel == topology.devices
        assert 0 < plan.decode_one.seconds <= plan.decode_full.seconds


@pytest.mark.usefixtures("greedy_sampler")
def test_a_plan_has_the_bytes_of_the_engine(tiny_model):
    chips = parse_topology("h100:1")
    engine = suggest_config(chips, slots=4, max_seq_len=1024, dtype="float32")
    engine = replace(engine, prefill_chunk=32, prefill_buckets=(32,), decode_buckets=(4,), cpu_matmul="xla")
    runner = load_runner(tiny_model, engine, valid=262, text_digest="").runner
    plan = make_plan(read_shape(str(tiny_model)), chips, engine)
    assert plan.memory.weights == sum(leaf.nbytes for leaf in jax.tree.leaves(runner.params))
    assert plan.memory.pages == sum(leaf.nbytes for leaf in jax.tree.leaves(runner.pages))
    assert plan.memory.slots == sum(leaf.nbytes for leaf in jax.tree.leaves(runner.slots))


@pytest.mark.parametrize(
    ("slice_", "devices", "neighbours"),
    [("v5e:2x4", 8, 2), ("v5p:2x2x1", 4, 2), ("v5p:2x2x2", 8, 3), ("v5p:2x2x2", 4, 2), ("v5p:4x4x4", 64, 6)],
)
def test_sums_go_along_all_dimensions_of_a_whole_deep_slice(slice_, devices, neighbours):
    topology = parse_topology(slice_)
    assert topology.links(devices) == neighbours * topology.chip.link


def test_shapes_come_from_folders_and_files(tmp_path):
    for name in ("config.json", "other.json"):
        (tmp_path / name).write_text(json.dumps(MODEL_SHAPES["llama-3-8b"]))
    expected = read_shape("llama-3-8b")
    assert read_shape(str(tmp_path)) == read_shape(str(tmp_path / "other.json")) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "no such file; give a folder with config.json"), ("{", "not valid JSON"), ("{}", "unnamed")],
)
def test_models_that_cannot_be_planned(tmp_path, text, message):
    if text:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        read_shape(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v5e:3x3", "unknown slice '3x3' of v5e; accepted: 1x1, 2x2, 2x4"),
        ("v5p:2x4", "accepted: 2x2x1, 2x2x2"),
        ("v5e", "the slice is missing, as in v5e:2x4"),
        ("a100:8", "unknown chip 'a100'; known: v4, v5e"),
    ],
)
def test_unknown_topologies_name_the_known(name, message):
    with pytest.raises(ValueError, match=message):
        parse_topology(name)


def test_context_beyond_the_model_is_refused():
    with pytest.raises(ValueError, match="at most the model's 8192"):
        planned("llama-3-8b", "v5e:2x4", max_seq_len=9000)


def test_blocks_of_experts_on_average():
    chips = parse_topology("v5e:1x1")
    model = replace(read_shape("qwen3-30b-a3b"), num_layers=1, kinds=read_shape("qwen3-30b-a3b").kinds[:1])
    cost = Cost(model, chips, 1, "bfloat16", {}, 0.0)
    rng = np.random.default_rng(0)
    for tokens, size in ((1, 8), (8, 8), (64, 8), (512, 64)):
        drawn = [np.stack([rng.permutation(128)[:8] for _ in range(tokens)]) for _ in range(60)]
        counted = [np.sum(-(-np.bincount(one.ravel(), minlength=128) // size)) for one in drawn]
        assert cost.blocks(tokens) == pytest.approx(np.mean(counted), rel=0.02)


@pytest.mark.parametrize("tokens", [1024, 1030, 2048, 4096])
@pytest.mark.parametrize("top_k", [2, 8])
def test_blocks_of_experts_for_large_steps(tokens, top_k):
    shape = read_shape("qwen3-30b-a3b")
    experts = replace(shape.experts, count=8, top_k=top_k)
    cost = Cost(replace(shape, experts=experts), parse_topology("v5e:1x1"), 1, "bfloat16", {}, 0.0)
    ways = (math.comb(tokens, n) * top_k**n * (8 - top_k) ** (tokens - n) * -(-n // 128) for n in range(tokens + 1))
    assert cost.blocks(tokens) == pytest.approx(float(8 * Fraction(sum(ways), 8**tokens)), rel=1e-9)


def test_a_mixture_of_experts_with_large_steps_can_be_planned():
    chips = parse_topology("v5e:2x4")
    engine = replace(suggest_config(chips, slots=2048, max_seq_len=256), prefill_chunk=2048)
    plan = make_plan(read_shape("qwen3-30b-a3b"), chips, engine)
    assert plan.prefill.tokens == plan.decode_full.tokens == 2048
    assert plan.decode_full.seconds > plan.decode_full.floor


LAYER = 4096 * 128 * (32 + 8 + 8) + 32 * 128 * 4096 + 3 * 4096 * 14_336  # weights of a layer of llama-3-8b
OUTPUTS = 128 * (32 + 8 + 8) + 4096 + 2 * 14_336 + 4096  # their outputs
VOCABULARY, NORMS = 128_256 * 4096, (2 * 32 + 1) * 4096


def test_an_8b_model_in_8_bits_on_one_chip():
    plan = planned("llama-3-8b", "v5e:1x1", quantize="int8")
    head = VOCABULARY + 4 * 128_256
    assert plan.memory.weights == 32 * (LAYER + 4 * OUTPUTS) + head + 2 * (VOCABULARY + NORMS)
    assert plan.decode_one.weights == pytest.approx((plan.memory.weights - 2 * VOCABULARY) / 819e9)
    assert plan.fits and not planned("llama-3-8b", "v5e:1x1").fits
    products = 2 * 512 * (plan.parameters - VOCABULARY) + 4 * 32 * 32 * 128 * 512 * 4096
    assert plan.prefill.seconds == pytest.approx(products / 197e12, rel=1e-3)


def test_an_8b_model_in_4_bits_on_one_chip():
    plan = planned("llama-3-8b", "v5e:1x1", quantize="int4", max_seq_len=4096)
    head = VOCABULARY + 4 * 128_256  # in 8 bits
    assert plan.memory.weights == 32 * (LAYER // 2 + 2 * LAYER // 32) + head + 2 * (VOCABULARY + NORMS)
    in_8_bits = planned("llama-3-8b", "v5e:1x1", quantize="int8", max_seq_len=4096)
    assert plan.capacity > in_8_bits.capacity
    assert plan.prefill.seconds == in_8_bits.prefill.seconds  # as many products


def test_on_a_gpu_there_is_room_for_one_dequantised_weight():
    plain, int8, int4 = (planned("llama-3-8b", "h200:1", quantize=form).memory for form in (None, "int8", "int4"))
    assert int8.workspace == plain.workspace  # products read the codes
    assert int4.workspace - plain.workspace == 2 * 4096 * 2 * 14_336  # gate and up
    halves = [planned("llama-3-8b", "h200:2", quantize=form).memory.workspace for form in (None, "int4")]
    assert halves[1] - halves[0] == 4096 * 2 * 14_336
    experts = [planned("qwen3-30b-a3b", "h200:1", quantize=form).memory.workspace for form in (None, "int4")]
    assert experts[1] - experts[0] == 2 * 2048 * (32 + 2 * 4) * 128  # the largest matrix; an expert's are smaller


def test_a_70b_model_in_4_bits_on_eight_chips():
    plan = planned("llama-3-70b", "v5e:2x4", quantize="int4")
    layer = 8192 * 128 * (64 + 8 + 8) + 64 * 128 * 8192 + 3 * 8192 * 28_672
    vocab = cdiv(128_256, 1024) * 1024
    rest = 2 * (2 * 80 + 1) * 8192  # every device has all norms
    table, head = 2 * vocab * 8192, vocab * 8192 + 4 * vocab
    assert plan.memory.weights == (80 * (layer // 2 + 2 * layer // 32) + table + head) // 8 + rest
    assert plan.fits and plan.engine.tensor_parallel == 8 and not planned("llama-3-70b", "v5e:2x4").fits


def test_a_stored_form_counts_as_it_is_stored(tmp_path):
    quantization = dict(quant_method="awq", bits=4, group_size=128, version="gemm", zero_point=True)
    raw = {**MODEL_SHAPES["llama-3-8b"], "quantization_config": quantization, "torch_dtype": "float16"}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    chips, (model, stored) = parse_topology("v5e:1x1"), read_model(str(tmp_path))
    plan = make_plan(model, chips, suggest_config(chips), stored)
    weights = LAYER // 2 + (2 + 1) * LAYER // 128  # codes, and an f16 scale and a zero point for each group
    assert plan.memory.weights == 32 * weights + 2 * (2 * VOCABULARY + NORMS)


def test_a_form_that_cannot_be_served_cannot_be_planned(tmp_path):
    raw = {**MODEL_SHAPES["llama-3-8b"], "quantization_config": dict(quant_method="awq", bits=3)}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with pytest.raises(ModelError, match=r"quantization_config\.bits must be 4"):
        read_model(str(tmp_path))


def test_a_notebook_shows_memory_times_and_whether_a_model_fits():
    plan = planned("llama-3-8b", "v5e:2x4", slots=16, max_seq_len=4096)
    text = Parsed(plan._repr_html_()).text
    for shown in ("8.03 B parameters", "v5e:2x4, 1 x 8 of 8", memory_size(plan.memory.weights), "decode, 16 sequences"):
        assert shown in text
    assert plan.verdict == "yes" and "fitsyes" in text
    assert "it fits on v5e:4x4" in Parsed(planned("llama-3-70b", "v5e:2x4")._repr_html_()).text
    assert planned("llama-3-8b", "v5e:1x1", quantize="int8").verdict.startswith("yes, but not with all slots")
