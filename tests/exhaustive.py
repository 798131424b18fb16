"""Marks cases that only `make exhaustive` runs. `make test` omits them, because other cases cover the same code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def mostly_exhaustive(cases: Iterable[Any], always: list[Any]) -> list[Any]:
    """Returns the cases for `parametrize`. Those that are not in `always` are marked `exhaustive`."""
    cases = list(cases)
    assert all(case in cases for case in always), "an unknown case"
    return [case if case in always else _exhaustive(case) for case in cases]


def _exhaustive(case: Any) -> Any:
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=pytest.mark.exhaustive)
