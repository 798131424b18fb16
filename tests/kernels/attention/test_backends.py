"""Every attention backend against full causal attention, through its own page layout."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas.tpu import InterpretParams
from jax.sharding import AxisType, Mesh

from jaxchat.cache import cache_folder
from jaxchat.kernels.attention import tpu_tokamax
from jaxchat.kernels.attention.backend import AttentionShape
from jaxchat.kernels.attention.cpu_native import NativeAttention, native_attention
from jaxchat.kernels.attention.gpu_triton import TritonAttention
from jaxchat.kernels.attention.ragged_batch import RaggedBatch
from jaxchat.kernels.attention.reference import causal
from jaxchat.kernels.attention.select import choose
from jaxchat.kernels.attention.spec import PLAIN, AttentionSpec
from jaxchat.kernels.attention.tpu_ragged import RaggedAttention
from jaxchat.kernels.attention.tpu_tokamax import TokamaxAttention
from jaxchat.kernels.attention.xla import XlaAttention

H, K, d, PAGE, N, CHUNK, LENGTH = 8, 2, 64, 16, 40, 64, 300
MESH = Mesh(np.array(jax.devices()[:1]), ("tensor",), axis_types=(AxisType.Auto,))
SHAPE = AttentionShape(num_heads=H, num_kv_heads=K, head_dim=d, dtype="float32", page=PAGE)
TABLE = jnp.array([3, 7, 1, 9, 11, 2, 30, 31, 32, 33, 34, 35, 4, 5, 6, 20, 21, 22, 23, 24, 25, 0])


def twin(q, pages, lengths, table, bounds, count, *, sm_scale, sliding_window, soft_cap, **blocks):
    """Computes the same as the TPU kernel, according to its documentation, one sequence after the other in NumPy."""
    assert pages.shape[-1] == 128 and blocks["num_kv_pages_per_block"] <= table.shape[1]
    assert 0 < blocks["num_queries_per_block"] <= len(q)

    def compute(q, pages, lengths, table, bounds, count):
        out = np.zeros(q.shape, np.float32)
        for row in range(count[0]):
            first, end, seen = bounds[row], bounds[row + 1], lengths[row]
            cache = pages[table[row]].reshape(-1, *pages.shape[2:])[:seen]
            keys, values = (np.repeat(part, H // K, axis=1) for part in (cache[:, 0::2], cache[:, 1::2]))
            scores = np.einsum("thd,shd->hts", q[first:end], keys) * sm_scale
            scores = soft_cap * np.tanh(scores / soft_cap) if soft_cap else scores
            query, key = seen - (end - first) + np.arange(end - first)[:, None], np.arange(seen)
            visible = (key <= query) & (key > query - (sliding_window or seen))
            weights = np.exp(np.where(visible, scores, -np.inf) - scores.max())
            out[first:end] = np.einsum("hts,shd->thd", weights / weights.sum(axis=-1, keepdims=True), values)
        return out

    result = jax.ShapeDtypeStruct(q.shape, jnp.float32)
    return jax.pure_callback(compute, result, q, pages, lengths, table, bounds, count)


def tokamax_twin(*, queries, kv_cache, kv_lens, page_indices, cu_q_lens, distribution, **options):
    """Computes the same as tokamax's kernel, according to its documentation, from pages with two rows for each head."""
    assert options["skip_kv_update"] and queries.dtype == jnp.float32
    assert options["keys"].shape == options["values"].shape == (len(queries), K, d)
    chosen = {name: options[name] for name in ("sm_scale", "sliding_window", "soft_cap")}
    blocks = dict(num_kv_pages_per_block=1, num_queries_per_block=1)
    pages, table = kv_cache.reshape(*kv_cache.shape[:2], -1, kv_cache.shape[-1]), page_indices.reshape(len(kv_lens), -1)
    padded = jnp.pad(queries, ((0, 0), (0, 0), (0, pages.shape[-1] - d)))
    out = twin(padded, pages, kv_lens, table, cu_q_lens, distribution[2:], **chosen, **blocks)
    return out[..., :d], kv_cache


PATHS = {
    "xla": lambda: XlaAttention(SHAPE),
    "native": lambda: NativeAttention(SHAPE, native_attention(cache_folder())["float32"]),
    "ragged": lambda: RaggedAttention(SHAPE, MESH, load=lambda: twin),
    "tokamax": lambda: TokamaxAttention(SHAPE, MESH, load=lambda **blocks: tokamax_twin, interpret=InterpretParams()),
    "triton": lambda: TritonAttention(SHAPE, MESH, interpret=jax.default_backend() != "gpu"),
}


@pytest.fixture(params=PATHS)
def backend(request):
    return PATHS[request.param]()


def attention(method, spec):
    """Returns a compiled function that computes attention by `backend.decode` or `backend.prefill`."""

    @jax.jit
    def attend(*args):
        attended = method(*args, spec)
        return attended[0] if isinstance(attended, tuple) else attended

    return attend


def random(*shape, seed):
    return jnp.array(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def empty(backend, fill=jnp.nan):
    """Returns pages with the leftovers of a failed request; the null page is never written."""
    shapes = backend.shapes(N)
    null = (*[slice(None)] * backend.page_axis, 0)
    return tuple(jnp.full(each.shape, fill, each.dtype).at[null].set(0) for each in shapes)


def prefilled(backend, k, v):
    """Returns a cache with all whole chunks of `k` and `v` in the pages of TABLE."""
    cache = empty(backend)
    for start in range(0, len(k) // CHUNK * CHUNK, CHUNK):
        ids = TABLE[start // PAGE : (start + CHUNK) // PAGE]
        cache = backend.write_chunk(cache, k[start : start + CHUNK], v[start : start + CHUNK], ids)
    return cache


@pytest.fixture(scope="module")
def sequence():
    return random(LENGTH, H, d, seed=0), random(LENGTH, K, d, seed=1), random(LENGTH, K, d, seed=2)


FORMS = {
    "plain": PLAIN,
    "scale": AttentionSpec(scale=0.2),
    "window and cap": AttentionSpec(scale=0.2, window=70, cap=3.0),
    "window and sinks": AttentionSpec(window=70, sinks=np.linspace(-2.0, 4.0, H, dtype=np.float32)),
}


@pytest.fixture(params=FORMS)
def spec(request, backend):
    spec = FORMS[request.param]
    refused = backend.name in ("ragged", "tokamax") and spec.sinks is not None
    return pytest.skip("refused by the kernels") if refused else spec


def test_a_sink_takes_its_share_of_the_softmax(sequence):
    q, k, v = (np.asarray(x, np.float64) for x in sequence)
    sinks = np.linspace(-2.0, 4.0, H)
    scores = np.einsum("hd,skhd->hs", q[50], np.repeat(k[:51, :, None], H // K, 2).reshape(51, 1, H, d)) / d**0.5
    weights = np.exp(scores) / (np.exp(scores).sum(1, keepdims=True) + np.exp(sinks)[:, None])
    expected = np.einsum("hs,shd->hd", weights, np.repeat(v[:51], H // K, axis=1))
    actual = causal(0, *sequence, AttentionSpec(sinks=jnp.array(sinks, jnp.float32)))
    np.testing.assert_allclose(actual[50], expected, atol=1e-5)


def test_prefill_in_chunks(backend, sequence, spec):
    q, k, v = sequence
    expected = causal(0, q, k, v, spec)
    cache = empty(backend)
    for start in range(0, LENGTH // CHUNK * CHUNK, CHUNK):
        here = slice(start, start + CHUNK)
        cache = backend.write_chunk(cache, k[here], v[here], TABLE[start // PAGE : (start + CHUNK) // PAGE])
        got = attention(backend.prefill, spec)(q[here], cache, RaggedBatch.single(TABLE, jnp.int32(start), CHUNK))
        np.testing.assert_allclose(got, expected[here], atol=1e-5)


def test_a_last_chunk_that_ends_past_the_table(backend, sequence, spec):
    q, k, v = sequence
    expected = causal(0, q, k, v, spec)
    cache = prefilled(backend, k[:128], v[:128])
    cache = backend.write_chunk(cache, k[128:192], v[128:192], jnp.array([TABLE[8], TABLE[9], N, N]))
    got = attention(backend.prefill, spec)(q[128:192], cache, RaggedBatch.single(TABLE[:10], jnp.int32(128), 32))
    np.testing.assert_allclose(got[:32], expected[128:160], atol=1e-5)


def test_prompts_that_share_a_step_get_the_bits_that_they_get_alone(backend, sequence, spec):
    """Three runs of one sequence's tokens, as if of three prompts, then a sequence without rows, then padding."""
    q, k, v = sequence
    padded = [jnp.pad(x, ((0, -LENGTH % CHUNK), (0, 0), (0, 0))) for x in (k, v)]
    cache, attend = prefilled(backend, *padded), attention(backend.prefill, spec)
    starts, counts = np.array([48, 192, 0, 0]), np.array([20, 33, 1, 0])
    bounds = np.concatenate([[0], np.cumsum(counts)])
    rows = np.concatenate([start + np.arange(count) for start, count in zip(starts, counts, strict=True)])
    given = jnp.pad(q[rows], ((0, CHUNK - len(rows)), (0, 0), (0, 0)), constant_values=jnp.nan)
    batch = RaggedBatch(jnp.tile(TABLE, (4, 1)), jnp.array(starts), jnp.array(bounds))
    together = attend(given, cache, batch)
    np.testing.assert_allclose(together[: len(rows)], causal(0, q, k, v, spec)[rows], atol=1e-5)
    for start, count, first in zip(starts, counts, bounds[:-1], strict=True):
        alone = attend(jnp.roll(given, -first, axis=0), cache, RaggedBatch.single(TABLE, jnp.int32(start), count))
        np.testing.assert_array_equal(alone[:count], together[first : first + count])


def test_decode_token_by_token_after_prefill(backend, sequence, spec):
    q, k, v = sequence
    expected = causal(0, q, k, v, spec)
    cache = prefilled(backend, k[:128], v[:128])
    decode = attention(backend.decode, spec)
    table, nothing = jnp.stack([TABLE, TABLE * 0]), jnp.zeros((1, K, d))
    for position in range(128, 150):
        ids, offsets = jnp.array([TABLE[position // PAGE], N]), jnp.array([position % PAGE, 0])
        new = (jnp.concatenate([x[position : position + 1], nothing]) for x in (k, v))
        cache = backend.write_tokens(cache, *new, ids, offsets)
        if position not in (128, 143, 144, 149):  # around the ends of pages
            continue
        rows = jnp.concatenate([q[position : position + 1], random(1, H, d, seed=5)])
        got = decode(rows, cache, table, jnp.array([position + 1, 1]), jnp.array([True, False]))
        np.testing.assert_allclose(got[0], expected[position], atol=1e-5)
        assert jnp.all(jnp.isfinite(got))


def test_rows_of_many_lengths(backend, sequence, spec):
    q, k, v = sequence
    expected = causal(0, q, k, v, spec)
    padded = [jnp.pad(x, ((0, -LENGTH % CHUNK), (0, 0), (0, 0))) for x in (k, v)]
    cache = prefilled(backend, *padded)
    lengths = jnp.array([1, 16, 17, 127, 128, 129, 256, LENGTH])
    table = jnp.tile(TABLE, (8, 1))
    got = attention(backend.decode, spec)(q[lengths - 1], cache, table, lengths, jnp.ones(8, bool))
    np.testing.assert_allclose(got, expected[lengths - 1], atol=1e-5)


def test_writes_past_the_last_page_are_dropped(backend):
    cache = empty(backend, fill=1.0)
    new, gone = random(32, K, d, seed=1), jnp.array([N, N])
    for written in (
        backend.write_tokens(cache, new[:2], new[:2], gone, jnp.array([0, 1])),
        backend.write_chunk(cache, new, new, gone),
    ):
        jax.tree.map(np.testing.assert_array_equal, cache, written)


@pytest.mark.parametrize(
    ("platform", "changes", "name", "reason"),
    [
        ("cpu", {}, "xla", "plain JAX on a CPU"),
        ("tpu", {}, "ragged", "heads padded from 64 to 128"),
        ("tpu", {"head_dim": 128}, "ragged", "Pallas kernel on a TPU"),
        ("tpu", {"head_dim": 256, "page": 128}, "tokamax", "head width 256 is more than the kernel's 128"),
        ("tpu", {"head_dim": 192, "page": 64}, "tokamax", "heads padded from 192 to 256"),
        ("tpu", {"num_kv_heads": 6, "shards": 2, "page": 128}, "tokamax", "3 KV heads on a device"),
        ("tpu", {"head_dim": 256}, "xla", "page_size 16 is less than the 64 tokens"),
        ("tpu", {"sinks": True}, "xla", "the kernel does not support attention sinks"),
        ("gpu", {}, "triton", "Pallas kernels on a GPU"),
        (
            "gpu",
            {"dtype": "bfloat16", "windows": True, "sinks": True, "caps": True},
            "triton",
            "Pallas kernels on a GPU",
        ),
        ("gpu", {"head_dim": 80}, "triton", "Pallas kernels on a GPU"),
        ("gpu", {"head_dim": 72}, "xla", "head width 72 is not a multiple of 16 from 16 to 256"),
        ("gpu", {"page": 24}, "xla", "page_size 24 is not a power of two"),
        ("gpu", {"page": 64, "head_dim": 256}, "xla", "makes pages of 65536 bytes, more than 32768"),
        ("gpu", {"page": 64, "head_dim": 144}, "xla", "makes pages of 65536 bytes, more than 32768"),
    ],
)
def test_the_choice_and_its_reason(platform, changes, name, reason, monkeypatch):
    monkeypatch.setattr(tpu_tokamax, "find_spec", lambda package: package)
    shape = AttentionShape(**{**vars(SHAPE), **changes})
    choice = choose("auto", [shape], platform, MESH)
    assert choice.backend.first.name == name and reason in str(choice)
    assert choose("xla", [shape], platform, MESH).backend.first.name == "xla"


def test_without_tokamax_wide_heads_are_left_to_plain_jax(monkeypatch):
    monkeypatch.setattr(tpu_tokamax, "find_spec", lambda package: None)
    wide = replace(SHAPE, head_dim=256, page=128)
    choice = choose("auto", [wide], "tpu", MESH)
    assert choice.backend.first.name == "xla" and "pip install 'jaxchat[tpu-fast]'" in str(choice)
    with pytest.raises(ValueError, match=r"attention tokamax: tokamax is not installed .*jaxchat\[tpu-fast\]"):
        choose("tokamax", [wide], "tpu", MESH)


def test_the_backend_of_a_model_supports_each_of_its_layers():
    narrow, wide = (AttentionShape(**{**vars(SHAPE), "head_dim": width}) for width in (128, 512))
    assert choose("auto", [narrow, None], "gpu", MESH).backend.first.name == "triton"
    choice = choose("auto", [None, narrow, wide], "gpu", MESH)
    assert choice.backend.first.name == "xla" and "head width 512" in str(choice)
    assert [bool(shapes) for shapes in choice.backend.shapes(3)] == [False, True, True]
    assert choice.backend.of(1).shapes(3) != choice.backend.of(2).shapes(3)
    with pytest.raises(ValueError, match=r"attention triton: .*head width 512"):
        choose("triton", [narrow, wide], "gpu", MESH)


@pytest.mark.parametrize(("kv_heads", "keys"), [(1, 1024), (4, 1024), (8, 512), (32, 128)])
def test_blocks_of_the_tpu_kernel_hold_fewer_keys_of_more_heads(kv_heads, keys):
    """With more, the TPU compiler reports that vector memory is exhausted."""
    seen = []

    def kernel(q, *arrays, **options):
        seen.append(options["num_kv_pages_per_block"])
        return q

    shape = AttentionShape(num_heads=32, num_kv_heads=kv_heads, head_dim=128, dtype="bfloat16", page=128)
    backend = RaggedAttention(shape, MESH, load=lambda: kernel)
    cache = tuple(jnp.zeros(each.shape, each.dtype) for each in backend.shapes(4))
    q, table, lengths = jnp.zeros((2, 32, 128)), jnp.zeros((2, 64), jnp.int32), jnp.ones(2, jnp.int32)
    backend.decode(q, cache, table, lengths, lengths > 0, AttentionSpec())
    assert seen == [keys // 128]
