"""The versions of jax: the GPU's kernels are lowered without a GPU, and only one warning is silenced."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, AxisType

from jaxchat.compat import building_kernels, described_devices
from jaxchat.kernels.attention.backend import AttentionShape
from jaxchat.kernels.attention.gpu_triton import TritonAttention
from jaxchat.kernels.attention.ragged_batch import RaggedBatch
from jaxchat.kernels.attention.spec import PLAIN

ROWS, CHUNK, H, K, d, PAGE = 4, 32, 8, 2, 64, 16
MESH = AbstractMesh(
    (1,), ("tensor",), axis_types=(AxisType.Auto,), abstract_device=AbstractDevice("NVIDIA H200", None, "gpu")
)


@pytest.mark.parametrize("kv_dtype", [None, "int8"])
@pytest.mark.parametrize("program", ["decode", "prefill"])
def test_kernels_of_a_gpu_are_lowered(program: str, kv_dtype: str | None) -> None:
    shape = AttentionShape(num_heads=H, num_kv_heads=K, head_dim=d, dtype="bfloat16", page=PAGE, kv_dtype=kv_dtype)
    backend = TritonAttention(shape, MESH)
    cache = backend.shapes(9)

    def decode(q, kv, cache, table, lengths):
        cache = backend.write_tokens(cache, kv, kv, table[:, 0], lengths % PAGE)
        return backend.decode(q, cache, table, lengths, lengths > 0, PLAIN)

    def prefill(q, kv, cache, table, start):
        cache = backend.write_chunk(cache, kv, kv, table[: CHUNK // PAGE])
        return backend.prefill(q, cache, RaggedBatch.single(table, start, CHUNK), PLAIN)

    tokens = ROWS if program == "decode" else CHUNK
    q, kv = (jax.ShapeDtypeStruct((tokens, heads, d), jnp.bfloat16) for heads in (H, K))
    given = ((ROWS, 8), (ROWS,)) if program == "decode" else ((8,), ())
    table, place = (jax.ShapeDtypeStruct(shape, jnp.int32) for shape in given)
    traced = jax.jit(decode if program == "decode" else prefill).trace(q, kv, cache, table, place)
    with jax.sharding.use_abstract_mesh(MESH), building_kernels():  # deprecation warnings are errors in tests
        lowered = traced.lower(lowering_platforms=("cuda",))
    assert lowered.as_text().count("triton") >= 2


def test_other_deprecations_are_reported() -> None:
    with pytest.warns(DeprecationWarning, match="something else"), building_kernels():
        warnings.warn("something else", DeprecationWarning, stacklevel=1)


def test_options_of_a_slice_may_have_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def describe(*names: str, **options: str) -> SimpleNamespace:
        return SimpleNamespace(devices=[names, options])

    monkeypatch.setattr("jax.experimental.topologies.get_topology_desc", describe)
    assert described_devices("", "cuda", topology="1x1x1") == [("", "cuda"), {"topology": "1x1x1"}]
