"""The table of parity, and what it says about a mesh that a model cannot be split over."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tools.parity.measure import Difference
from tools.parity.table import BEGIN, END, Cell, replace_table, table, table_of

GOOD, BAD = Difference(2e-6, 3e-6, "a"), Difference(2e-6, 3e-4, "b")


def test_a_row_for_each_family_and_dtype() -> None:
    cells = [
        Cell("llama 2", "float32", 1, GOOD),
        Cell("llama 2", "float32", 2, BAD),
        Cell("llama 2", "bfloat16", 2, BAD),
        Cell("awq", "float32", 1, Difference(2e-2, 3e-2, "c")),  # activations in 8 bits
        Cell("awq", "float32", 2, Difference(2e-2, 3e-2, "c")),
        Cell("phi 3", "float32", 2, None, "tensor_parallel 2 does not divide the model's 113 feed-forward width"),
    ]
    assert table(cells).splitlines() == [
        "| family or form | dtype | 1 | 2 |",
        "|---|---|---|---|",
        "| llama 2 | float32 | 2e-06 / 3e-06 | **2e-06 / 3e-04** |",
        "| llama 2 | bfloat16 |  | 2e-06 / 3e-04 |",
        "| phi 3 | float32 |  | refused |",
        "| awq | float32 | 2e-02 / 3e-02 | **2e-02 / 3e-02** |",
    ]
    assert [cell.green for cell in cells] == [True, False, True, True, False, True]


def test_cells_that_were_not_measured_stay() -> None:
    known = table([Cell("llama 2", "float32", 1, BAD), Cell("phi 3", "float32", 1, BAD)])
    assert table([Cell("llama 2", "float32", 1, GOOD)], known).splitlines()[2:] == [
        "| llama 2 | float32 | 2e-06 / 3e-06 |",
        "| phi 3 | float32 | **2e-06 / 3e-04** |",
    ]
    wider = table([Cell("llama 2", "float32", 2, GOOD)], known)
    assert wider.splitlines() == [
        "| family or form | dtype | 1 | 2 |",
        "|---|---|---|---|",
        "| llama 2 | float32 | **2e-06 / 3e-04** | 2e-06 / 3e-06 |",
        "| phi 3 | float32 | **2e-06 / 3e-04** |  |",
    ]
    assert table([Cell("phi 3", "float32", 2, GOOD)], wider).splitlines()[3] == (
        "| phi 3 | float32 | **2e-06 / 3e-04** | 2e-06 / 3e-06 |"
    )


def test_what_is_no_number_is_out_of_bounds() -> None:
    assert not Cell("llama 2", "float32", 1, Difference(float("nan"), 0.0, "")).green
    assert not Cell("llama 2", "float32", 1, Difference(0.0, float("nan"), "")).green


def test_text_around_the_markers_stays() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replace_table(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert table_of(page) == "old"
    with pytest.raises(ValueError, match="no place for the table"):
        replace_table("before\n", "new")


def run(*meshes: str) -> list[str]:
    """Its lines, one for each family and mesh."""
    command = [sys.executable, "-m", "tools.parity", "--dtypes", "float32", "--meshes", *meshes]
    done = subprocess.run([*command, "--only", "phi 4, long", "whole experts", "Q6_K"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if ", float32, " in line]


@pytest.mark.exhaustive
def test_meshes_agree_with_transformers_and_give_the_same_bits_from_run_to_run() -> None:
    """In two processes: every logit is in the digests. Eight devices for 2 KV heads hold each of them four times; where
    there are only 4 query heads, half of the devices have one of zeros. A sum of two has one order only: no second run.
    """
    with ThreadPoolExecutor(2) as pool:
        both, again = pool.submit(run, "2", "8"), pool.submit(run, "8")
    first = both.result()
    assert [line.split(":")[0] for line in first] == [
        "phi 4, long, float32, 2",
        "phi 4, long, float32, 8",
        "qwen 3, whole experts, float32, 2",
        "qwen 3, whole experts, float32, 8",
        "GGUF, Q6_K, float32, 2",
        "GGUF, Q6_K, float32, 8",
    ]
    assert [line for line in first if ", 8:" in line] == again.result()
