"""Products with weights that devices share: right, and without moving weights between devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.kernels.matmul.weight_only_devices import CASES


@pytest.fixture(scope="module", params=["cpu", "gpu"])
def results(request: pytest.FixtureRequest) -> dict[str, Any]:
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.kernels.matmul.weight_only_devices", request.param]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout
    )
    return found


@pytest.mark.parametrize("place", ["outside", "inside"])
@pytest.mark.parametrize("split", ["inputs", "outputs"])
@pytest.mark.parametrize("name", CASES)
def test_devices_multiply_their_parts(results: dict[str, Any], name: str, split: str, place: str) -> None:
    facts = results[f"{name}, {split}, {place}"]
    assert facts["error"] < 1e-5
    assert facts["moved"] == 0
    assert facts["sums"] == (1 if split == "inputs" else 0)
