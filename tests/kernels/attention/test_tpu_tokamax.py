"""tokamax's kernel for TPUs: how its pages are written, sizes of blocks, and what the kernel is given."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas.tpu import InterpretParams
from jax.sharding import AxisType, Mesh

from jaxchat.kernels.attention.backend import AttentionShape
from jaxchat.kernels.attention.ragged_batch import RaggedBatch
from jaxchat.kernels.attention.spec import PLAIN
from jaxchat.kernels.attention.tpu_kv_write import write_rows
from jaxchat.kernels.attention.tpu_tokamax import LIMIT, Blocks, TokamaxAttention

MESH = Mesh(np.array(jax.devices()[:1]), ("tensor",), axis_types=(AxisType.Auto,))
GEMMA = AttentionShape(num_heads=16, num_kv_heads=8, head_dim=256, dtype="bfloat16", page=128, windows=True)


def shape(**changes):
    return AttentionShape(**{**vars(GEMMA), **changes})


def test_rows_are_written_and_others_dropped():
    target, new = jnp.full((9, 2, 2, 128), 7.0), jnp.arange(4 * 2 * 2 * 128, dtype=jnp.float32).reshape(4, 2, 2, 128)
    rows = jnp.array([4, 9, 0, 12])
    got = jax.jit(lambda *args: write_rows(*args, interpret=InterpretParams()))(target, new, rows)
    np.testing.assert_array_equal(got, np.asarray(target.at[rows].set(new, mode="drop")))
    within = jnp.array([1, 0, 1, 1])
    got = jax.jit(lambda *args: write_rows(*args, interpret=InterpretParams()))(target, new[:, 0], rows, within)
    np.testing.assert_array_equal(got, np.asarray(target.at[rows, within].set(new[:, 0], mode="drop")))


@pytest.mark.parametrize(
    ("changes", "blocks"),
    [
        ({"shards": 8}, Blocks(keys=512, sequences=8, slices=2, queries=128)),
        ({}, Blocks(keys=128, sequences=4, slices=2, queries=128)),
        ({"num_heads": 32, "num_kv_heads": 4, "head_dim": 512}, Blocks(keys=128, sequences=4, slices=2, queries=32)),
        ({"num_heads": 64, "num_kv_heads": 64}, Blocks(keys=128, sequences=1, slices=1, queries=32)),
    ],
)
def test_blocks_fit_into_vector_memory(changes, blocks):
    assert Blocks.of(shape(**changes)) == blocks


def recording(calls):
    def kernel(**arguments):
        calls.append(arguments)
        return arguments["queries"], arguments["kv_cache"]

    return lambda **blocks: kernel


def test_what_the_kernel_sees_is_finite():
    small = shape(num_heads=2, num_kv_heads=1, dtype="float32")
    backend = TokamaxAttention(small, MESH, load=recording([]), interpret=InterpretParams())
    wild = jnp.array([jnp.nan, jnp.inf, -jnp.inf, 1.0]).repeat(64).reshape(1, 1, 256)
    cache = tuple(jnp.zeros(each.shape, each.dtype) for each in backend.shapes(2))
    (pages,) = backend.write_tokens(cache, wild, wild, jnp.array([1]), jnp.array([3]))
    one, table = jnp.array([4]), jnp.ones((1, 1), jnp.int32)
    queries, _ = backend.decode(jnp.tile(wild, (1, 2, 1)), (pages,), table, one, one > 0, PLAIN)
    expected = np.array([0.0, LIMIT, -LIMIT, 1.0], np.float32).repeat(64)
    np.testing.assert_array_equal(queries[0], [expected, expected])
    np.testing.assert_array_equal(pages[1, 3, :, 0], [expected, expected])
    assert not np.any(pages[1, :3]) and not np.any(pages[0])


def test_rows_beyond_one_schedule_get_another():
    calls = []
    backend = TokamaxAttention(shape(num_heads=2, num_kv_heads=1), MESH, load=recording(calls))
    table = jnp.zeros((100, 1024), jnp.int32)  # 131,072 tokens each, 256 blocks of keys
    cache = tuple(jax.ShapeDtypeStruct(each.shape, each.dtype) for each in backend.shapes(4))
    lengths, queries = jnp.ones(100, jnp.int32), jnp.zeros((100, 2, 256), jnp.bfloat16)
    decode = jax.eval_shape(lambda *args: backend.decode(*args, PLAIN), queries, cache, table, lengths, lengths > 0)
    assert [call["queries"].shape[0] for call in calls] == [64, 36] and decode[0].shape == queries.shape
    many = RaggedBatch(table[:16], lengths[:16], jnp.arange(17, dtype=jnp.int32))
    with pytest.raises(ValueError, match=r"prefill step of 512 tokens over sequences of 131072 needs 5120 blocks"):
        jax.eval_shape(lambda *args: backend.prefill(*args, PLAIN), jnp.zeros((512, 2, 256)), cache, many)
