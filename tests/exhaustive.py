"""Cases that `make test` leaves to `make exhaustive`: they show on more of the same what others show already."""

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
