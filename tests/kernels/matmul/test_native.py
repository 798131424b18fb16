"""Products in C++: as exact as sums in f32 can be, and the same bits for a row whatever other rows there are."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxchat.cache import cache_folder
from jaxchat.kernels.cpp import build
from jaxchat.kernels.matmul import int8
from jaxchat.kernels.matmul.native import (
    PanelWeight,
    matmul,
    matmul_entry,
    native_matmuls,
    pack_stack,
    pack_table,
    pack_weight,
    reference,
)

multiply = jax.jit(matmul)


@pytest.fixture(scope="module")
def targets() -> dict[str, str]:
    return native_matmuls(cache_folder())


def made(rows: int, inputs: int, outputs: int, dtype: str, target: str, seed: int = 0) -> tuple[jax.Array, PanelWeight]:
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.standard_normal((rows, inputs)), jnp.float32).astype(dtype)
    w = jnp.asarray(rng.standard_normal((outputs, inputs)), jnp.float32).astype(dtype)
    return x, pack_table(w, target)


@settings(deadline=None, max_examples=25)
@given(
    rows=st.integers(1, 40), inputs=st.integers(1, 2200), outputs=st.integers(1, 130),
    dtype=st.sampled_from(["float32", "bfloat16"]), seed=st.integers(0, 1000),
)  # fmt: skip
def test_products_agree_with_sums_in_float64(rows: int, inputs: int, outputs: int, dtype: str, seed: int) -> None:
    x, w = made(rows, inputs, outputs, dtype, native_matmuls(cache_folder())[dtype], seed)
    given, rows_of_w = np.asarray(x, np.float64), np.asarray(w.take(jnp.arange(outputs)), np.float64)
    exact = given @ rows_of_w.T
    bound = np.abs(given) @ np.abs(rows_of_w).T  # of the sum of magnitudes
    for actual in (multiply(x, w), reference(x, w)):
        assert actual.dtype == jnp.float32
        assert (np.abs(np.asarray(actual) - exact) <= 2e-6 * bound).all()


@pytest.mark.bits
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("inputs", [64, 896, 1500, 4864])
def test_a_row_is_the_same_among_any_number_of_rows(inputs: int, dtype: str, targets: dict[str, str]) -> None:
    x, w = made(65, inputs, 331, dtype, targets[dtype])
    full = np.asarray(multiply(x, w))
    for rows in (*range(1, 18), 32, 64):
        for first in (0, 65 - rows):
            part = np.asarray(multiply(x[first : first + rows], w))
            assert part.tobytes() == full[first : first + rows].tobytes(), (rows, first)


ARCHITECTURES = {  # as compilers name them, and what a CPU must have to run their code
    "x86-64": (),
    "skylake-avx512": ("avx512bw", "avx512vl"),
}
TESTED_ELSEWHERE = ("x86-64-v3", "icelake-server")  # by the tests of bits: as the machine is, and held to AVX2


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the instructions of x86")
@pytest.mark.exhaustive
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kernels_for_other_cpus_compute_the_same(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not set(ARCHITECTURES[architecture]) <= set(Path("/proc/cpuinfo").read_text("utf-8").split()):
        pytest.skip(f"this CPU does not run code for {architecture}")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
    monkeypatch.setitem(build.ARCHITECTURES, "AVX2", architecture)
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-Werror"))
    others = native_matmuls(tmp_path)
    for dtype in ("float32", "bfloat16"):
        for rows in (1, 4, 11, 30):
            x, w = made(rows, 1100, 70, dtype, others[dtype])
            np.testing.assert_allclose(multiply(x, w), reference(x, w), rtol=1e-4, atol=1e-4)
            assert np.asarray(multiply(x[:2], w)).tobytes() == np.asarray(multiply(x, w))[:2].tobytes()
    for rows in (1, 4, 11, 30):
        x, _ = made(rows, 1100, 70, "float32", "")
        w = jnp.asarray(np.random.default_rng(5).standard_normal((1100, 70)), jnp.float32)
        actual, exact = (jax.jit(int8.matmul)(x, int8.quantise(w, 1, by)) for by in (others["int8"], ""))
        np.testing.assert_array_equal(actual, exact)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the instructions of x86")
@pytest.mark.parametrize("architecture", TESTED_ELSEWHERE)
def test_kernels_for_other_cpus_give_no_warning(architecture: str) -> None:
    options = (*build.FLAGS, *build.EXACT, f"-march={architecture}", "-isystem", jax.ffi.include_dir())
    sources = map(str, sorted(build.FOLDER.glob("*.cc")))
    compiler = next(filter(shutil.which, build.COMPILERS))
    subprocess.run([compiler, *options, "-Werror", "-fsyntax-only", *sources], check=True)


@pytest.mark.bits
def test_what_is_no_number_stays_in_its_row(targets: dict[str, str]) -> None:
    x, w = made(9, 200, 50, "float32", targets["float32"])
    expected = np.asarray(multiply(x, w))
    actual = np.asarray(multiply(x.at[4].set(jnp.nan), w))
    assert np.isnan(actual[4]).all()
    assert np.delete(actual, 4, 0).tobytes() == np.delete(expected, 4, 0).tobytes()


def test_axes_are_summed_and_kept(targets: dict[str, str]) -> None:
    rng = np.random.default_rng(1)
    w = jnp.asarray(rng.standard_normal((4, 6, 3, 5)), jnp.float32)
    x = jnp.asarray(rng.standard_normal((7, 4, 6)), jnp.float32)
    actual = multiply(x.reshape(7, 24), pack_weight(w, 2, targets["float32"]))
    np.testing.assert_allclose(actual, np.einsum("tab,abcd->tcd", x, w), rtol=1e-5, atol=1e-5)


@pytest.mark.bits
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_of_several_weights_gives_the_bits_of_that_weight_alone(dtype: str, targets: dict[str, str]) -> None:
    rng = np.random.default_rng(2)
    w = jnp.asarray(rng.standard_normal((5, 70, 3, 20)), jnp.float32).astype(dtype)
    x = jnp.asarray(rng.standard_normal((8, 70)), jnp.float32)
    several = pack_stack(w, 1, targets[dtype])
    for index in range(5):
        actual = jax.jit(matmul_entry)(x, several, jnp.int32(index))
        alone = multiply(x, pack_weight(w[index], 1, targets[dtype]))
        assert actual.shape == (8, 3, 20)
        np.testing.assert_array_equal(actual, alone)


def test_without_a_compiler_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "COMPILERS", ("no-such-compiler",))
    with pytest.raises(build.NativeError, match="no-such-compiler"):
        native_matmuls(tmp_path)


def test_a_compiler_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-fno-such-flag"))
    with pytest.raises(build.NativeError, match="no-such-flag"):
        native_matmuls(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_of_a_table_are_taken_as_they_are(dtype: str, targets: dict[str, str]) -> None:
    table = jnp.asarray(np.random.default_rng(3).standard_normal((70, 33)), dtype)
    rows = jnp.array([69, 0, 31, 32, 5])
    actual = jax.jit(lambda w, rows: w.take(rows))(pack_table(table, targets[dtype]), rows)
    np.testing.assert_array_equal(np.asarray(actual, np.float32), np.asarray(table[rows], np.float32))
