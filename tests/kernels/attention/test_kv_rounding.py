"""Keys and values in int8: every backend against float64 over the rounded numbers, and the same bits in any step."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from jaxchat.cache import cache_folder
from jaxchat.kernels.attention.backend import AttentionFactory, AttentionShape, AttentionTarget
from jaxchat.kernels.attention.cpu_native import NativeAttention, native_attention
from jaxchat.kernels.attention.gpu_triton import TritonAttention
from jaxchat.kernels.attention.ragged_batch import RaggedBatch
from jaxchat.kernels.attention.select import choose
from jaxchat.kernels.attention.spec import PLAIN, AttentionSpec
from jaxchat.kernels.attention.xla import XlaAttention

H, K, d, PAGE, N, LENGTH = 4, 2, 16, 16, 12, 160
MESH = Mesh(np.array(jax.devices()[:1]), ("tensor",), axis_types=(AxisType.Auto,))
SHAPE = AttentionShape(num_heads=H, num_kv_heads=K, head_dim=d, dtype="float32", page=PAGE, kv_dtype="int8")
TABLE = jnp.array([3, 7, 1, 9, 11, 2, 5, 10, 8, 4])
BACKENDS = {
    "xla": lambda: XlaAttention(SHAPE),
    "native": lambda: NativeAttention(SHAPE, native_attention(cache_folder())["int8"]),
    "triton": lambda: TritonAttention(SHAPE, MESH, interpret=jax.default_backend() != "gpu"),
}
SPECS = {
    "plain": PLAIN,
    "window, cap and sinks": AttentionSpec(window=70, cap=3.0, sinks=np.linspace(-2.0, 4.0, H, dtype=np.float32)),
}
on_a_cpu = pytest.mark.parametrize("name", ["xla", "native"])


def random(*shape, seed):
    return jnp.array(np.random.default_rng(seed).normal(size=shape), jnp.float32)


Q, KEYS, VALUES = random(LENGTH, H, d, seed=0), random(LENGTH, K, d, seed=1), random(LENGTH, K, d, seed=2)


def empty(backend):
    """Returns pages with the leftovers of a failed request: any integers, and scales of NaN."""
    return tuple(
        jnp.full(each.shape, 99 if each.dtype == jnp.int8 else jnp.nan, each.dtype) for each in backend.shapes(N)
    )


def filled(backend, k=KEYS, v=VALUES, chunk=LENGTH):
    cache, write = empty(backend), jax.jit(backend.write_chunk)
    for start in range(0, LENGTH, chunk):
        ids = TABLE[start // PAGE : (start + chunk) // PAGE]
        cache = write(cache, k[start : start + chunk], v[start : start + chunk], ids)
    return cache


def stored(backend, cache):
    """Returns keys and values `[LENGTH, K, d]` and their scales `[LENGTH, K]`, as the pages of TABLE hold them."""
    pages = [np.moveaxis(np.asarray(array), backend.head_axis, 2)[TABLE] for array in cache]
    return [array.reshape(LENGTH, *array.shape[2:]) for array in pages]


def attention(q, k, v, spec):
    """Computes causal attention in float64, one query and head after the other."""
    out = np.zeros(q.shape)
    for t, h in np.ndindex(*q.shape[:2]):
        visible = slice(max(0, t + 1 - spec.window) if spec.window else 0, t + 1)
        scores = k[visible, h // (H // K)] @ q[t, h].astype(np.float64) / d**0.5
        scores = spec.cap * np.tanh(scores / spec.cap) if spec.cap else scores
        weights = np.exp(scores)
        sink = 0.0 if spec.sinks is None else np.exp(np.float64(spec.sinks[h]))
        out[t, h] = weights @ v[visible, h // (H // K)] / (weights.sum() + sink)
    return out


def test_numbers_are_rounded_to_the_nearest_multiple_of_their_scale():
    k = KEYS.at[5].set(0.0).at[6, 0].set(1e-30)
    backend = XlaAttention(SHAPE)
    keys, values, key_scales, value_scales = stored(backend, filled(backend, k))
    for integers, scales, exact in ((keys, key_scales, k), (values, value_scales, VALUES)):
        exact = np.asarray(exact, np.float64)
        np.testing.assert_allclose(scales, np.abs(exact).max(axis=-1) / 127, rtol=1e-6)
        error = np.abs(integers.astype(np.float64) * scales[..., None] - exact)
        assert np.all(error <= 0.50001 * scales[..., None])
        assert np.abs(integers.astype(int)).max() == 127


@pytest.mark.parametrize(
    ("name", "form"), [(name, form) for name in BACKENDS for form in SPECS if (name, form) != ("triton", "plain")]
)
def test_queries_attend_to_the_rounded_numbers(name, form):
    backend, spec = BACKENDS[name](), SPECS[form]
    cache = filled(backend)
    keys, values, key_scales, value_scales = (np.float64(array) for array in stored(backend, cache))
    expected = attention(np.asarray(Q), keys * key_scales[..., None], values * value_scales[..., None], spec)
    prefill, decode = (jax.jit(partial(step, spec=spec)) for step in (backend.prefill, backend.decode))
    np.testing.assert_allclose(prefill(Q, cache, RaggedBatch.single(TABLE, jnp.int32(0), len(Q))), expected, atol=1e-5)
    lengths = jnp.array([1, 16, 17, 129, LENGTH])
    rows = decode(Q[lengths - 1], cache, jnp.tile(TABLE, (5, 1)), lengths, jnp.ones(5, bool))
    np.testing.assert_allclose(rows, expected[lengths - 1], atol=1e-5)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_token_is_stored_alike_by_steps_of_any_size(name):
    backend = BACKENDS[name]()
    write = jax.jit(backend.write_tokens)
    whole, cache = filled(backend), filled(backend, chunk=32)
    for position in (64, 159):
        ids, offsets = jnp.array([TABLE[position // PAGE], N]), jnp.array([position % PAGE, 0])
        cache = write(
            cache, KEYS[position - 1 : position + 1][::-1], VALUES[position - 1 : position + 1][::-1], ids, offsets
        )
    jax.tree.map(np.testing.assert_array_equal, stored(backend, cache), stored(backend, whole))


@pytest.mark.bits
@on_a_cpu
def test_chunks_and_neighbours_change_no_bit(name):
    backend, spec = BACKENDS[name](), SPECS["window, cap and sinks"]
    cache = filled(backend)
    prefill, decode = (jax.jit(partial(step, spec=spec)) for step in (backend.prefill, backend.decode))
    whole = np.asarray(prefill(Q, cache, RaggedBatch.single(TABLE, jnp.int32(0), len(Q))))
    for chunk in (16, 32):
        starts = range(0, LENGTH, chunk)
        parts = [prefill(Q[i : i + chunk], cache, RaggedBatch.single(TABLE, jnp.int32(i), chunk)) for i in starts]
        assert np.concatenate(parts).tobytes() == whole.tobytes(), chunk
    alone = {}
    for positions in ([5], [159], [159, 5], [0, 159, 127, 128, 5]):
        rows = jnp.array(positions)
        actual = decode(Q[rows], cache, jnp.tile(TABLE, (len(rows), 1)), rows + 1, jnp.ones(len(rows), bool))
        for position, row in zip(positions, np.asarray(actual), strict=True):
            assert alone.setdefault(position, row.tobytes()) == row.tobytes(), positions


@pytest.mark.bits
def test_the_kernel_computes_the_bits_of_f32_over_the_same_numbers():
    backend = BACKENDS["native"]()
    f32 = NativeAttention(replace(SHAPE, kv_dtype=None), native_attention(cache_folder())["float32"])
    cache = filled(backend)
    keys, values, key_scales, value_scales = stored(backend, cache)
    widened = (
        jnp.float32(numbers) * scales[..., None] for numbers, scales in ((keys, key_scales), (values, value_scales))
    )
    expected = f32.prefill(
        Q, f32.write_chunk(empty(f32), *widened, TABLE), RaggedBatch.single(TABLE, jnp.int32(0), len(Q)), PLAIN
    )
    actual = backend.prefill(Q, cache, RaggedBatch.single(TABLE, jnp.int32(0), len(Q)), PLAIN)
    assert np.asarray(actual).tobytes() == np.asarray(expected).tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@on_a_cpu
def test_what_is_not_finite_stays_in_its_sequence(name, bad):
    backend = BACKENDS[name]()
    cache = filled(backend, v=VALUES.at[144, :, 3].set(bad))
    rows = jnp.array([143, 144, 159])
    actual = backend.decode(Q[rows], cache, jnp.tile(TABLE, (3, 1)), rows + 1, jnp.ones(3, bool), PLAIN)
    assert np.isfinite(actual[0]).all()
    assert np.isnan(actual[1:]).all()


@pytest.mark.parametrize(
    ("platform", "name", "reason"),
    [
        ("cpu", "xla", "the kernels in C++ are not available"),
        ("tpu", "xla", "kv_dtype int8 has a scale for each token and head"),
        ("gpu", "triton", "on a GPU"),
    ],
)
def test_the_choice_and_its_reason(platform, name, reason):
    choice = choose("auto", [SHAPE], platform, MESH)
    assert choice.backend.first.name == name and reason in str(choice)


def test_a_backend_without_the_dtype_is_refused():
    with pytest.raises(ValueError, match="attention ragged: the kernel scales all keys alike, but kv_dtype int8 has"):
        choose("ragged", [SHAPE], "tpu", MESH)
    added = AttentionFactory(build=lambda target: XlaAttention(target.shape))
    target = AttentionTarget(shape=SHAPE, platform="cpu", mesh=MESH)
    assert added.refusal(target) == "the backend does not support kv_dtype int8"
    assert not added.refusal(replace(target, shape=replace(SHAPE, kv_dtype=None)))
