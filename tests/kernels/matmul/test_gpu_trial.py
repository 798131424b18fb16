"""GPUs that cannot run the kernel, or run it wrongly, are noticed."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import pytest

from jaxchat.kernels.matmul import gpu_trial
from jaxchat.kernels.matmul.weight_only import WeightOnly

KERNEL = partial(gpu_trial.matmul, interpret=jax.default_backend() != "gpu")


def test_a_kernel_that_works_multiplies_as_many_rows_as_it_can(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr(gpu_trial, "matmul", KERNEL)
    assert gpu_trial.most_rows() == 128
    assert not caplog.text


@pytest.mark.parametrize(
    ("error", "said"),
    [(RuntimeError("shared memory size limit exceeded\nmore"), "shared memory"), (AssertionError(), "AssertionError")],
)
def test_with_fewer_rows_it_may_work(monkeypatch: pytest.MonkeyPatch, caplog: Any, error: Exception, said: str) -> None:
    def fails(x: Any, w: WeightOnly) -> Any:
        if len(x) > 32:
            raise error
        return KERNEL(x, w)

    monkeypatch.setattr(gpu_trial, "matmul", fails)
    assert gpu_trial.most_rows() == 32
    assert f"fails with 128 rows and weights of 4 bits: {said}" in caplog.text


def test_one_wrong_form_is_enough(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def wrong(x: Any, w: WeightOnly) -> Any:
        return KERNEL(x, w) * (1.1 if w.minimum is not None else 1)

    monkeypatch.setattr(gpu_trial, "matmul", wrong)
    assert gpu_trial.most_rows() == 0
    assert "with 16 rows and weights of 4 bits, minima" in caplog.text
