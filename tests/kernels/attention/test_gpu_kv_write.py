"""Writing tokens into pages on a GPU, interpreted without one, against NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxchat.kernels.attention.gpu_kv_write import write_tokens

K, N, PAGE = 3, 5, 8
INTERPRET = jax.default_backend() != "gpu"


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("d", [16, 80])
def test_each_row_goes_to_its_place_and_nothing_else_changes(dtype: jnp.dtype, d: int) -> None:
    rng = np.random.default_rng(0)
    keys, values = (jnp.asarray(rng.normal(size=(K, N, PAGE, d)), dtype) for _ in range(2))
    k, v = (jnp.asarray(rng.normal(size=(4, K, d)), jnp.float32) for _ in range(2))
    ids, offsets = np.array([2, N, 4, 2]), np.array([7, 0, 3, 0])
    actual = write_tokens((keys, values), (k, v), jnp.asarray(ids), jnp.asarray(offsets), interpret=INTERPRET)
    for before, new, after in zip((keys, values), (k, v), actual, strict=True):
        expected = np.array(before)
        for row in (0, 2, 3):
            expected[:, ids[row], offsets[row]] = new[row].astype(dtype)
        np.testing.assert_array_equal(after, expected)
