"""Quantised weights on a mesh are those of one device, and predict what their dequantised form predicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jaxchat.checkpoints.find_model import find_model
from tests import tiny
from tests.checkpoints.gguf import tiny_gguf
from tests.runtime.test_stored_models import KINDS

KINDS_KEPT = {**KINDS, "ffn_up.weight": "Q4_1", "token_embd.weight": "Q4_0", "output.weight": "Q5_1"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The facts of `weight_only_mesh` about each case: one process with virtual devices compares all of them."""
    folder = tmp_path_factory.mktemp("models")
    stored, cut, tied = (stored_model(folder / name, **changes) for name, changes in STORED.items())
    dense, experts = (
        tiny.write(folder / name, hidden_size=64, num_hidden_layers=1, **changes)
        for name, changes in (("dense", {}), ("experts", tiny.EXPERTS))
    )
    cases = {
        "stored": (stored, {}),
        "stored, tied": (tied, {}),
        "groups cut": (cut, {}),
        "int4": (dense, {"quantize": "int4"}),
        "experts, int4": (experts, {"quantize": "int4"}),
        "whole experts, int8": (experts, {"quantize": "int8", "expert_parallel": True}),
    }
    request = json.dumps([(str(model), settings) for model, settings in cases.values()])
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, "-m", "tests.runtime.weight_only_mesh", request]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout
    return dict(zip(cases, json.loads(output), strict=True))


STORED: dict[str, dict[str, Any]] = {
    "stored": {"intermediate_size": 128},
    "cut": {"intermediate_size": 96},  # 48 inputs on each device, which are no whole groups of 32
    "tied": {"intermediate_size": 128, "tie_word_embeddings": True},
}


def stored_model(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    original = tiny_gguf.write_checkpoint(folder, num_hidden_layers=1, **changes)
    path = tiny_gguf.write_tiny(folder / "tiny.gguf", original, kinds=KINDS_KEPT)
    return find_model(str(path), str(folder / "cache"))


@pytest.mark.parametrize("case", ["stored", "stored, tied"])
def test_stored_forms_predict_what_their_numbers_do(results: dict[str, Any], case: str) -> None:
    facts = results[case]
    assert facts["weights"] == 4 + (1 if "tied" in case else 2)
    assert facts["split"] == facts["weights"] and facts["same arrays"]
    assert facts["error"] < 1e-5  # the same numbers in f32, summed in another order


@pytest.mark.parametrize("case", ["int4", "experts, int4", "whole experts, int8"])
def test_rounded_weights_are_those_of_one_device(results: dict[str, Any], case: str) -> None:
    facts = results[case]
    assert facts["split"] == facts["weights"] == 4 + 1 and facts["same arrays"]
    assert facts["error"] < 1e-5
    assert facts["phrase"].startswith("of int4" if "int4" in case else "of int8")


def test_groups_that_devices_would_divide_are_widened_and_it_says_so(results: dict[str, Any]) -> None:
    facts = results["groups cut"]
    assert facts["weights"] == 3 + 2
    assert "widened weights: 1 (2 devices would divide their groups)" in facts["phrase"]
    assert facts["error"] < 1e-5
