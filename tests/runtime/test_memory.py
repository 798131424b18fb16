"""What loading takes besides the weights."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxchat.checkpoints.convert import convert
from jaxchat.checkpoints.hf_mapping import stored_slices
from jaxchat.config import EngineConfig
from jaxchat.models.families import from_hugging_face, read_config
from jaxchat.parallel.mesh import Placement
from jaxchat.runtime.parameters import load_parameters
from tests import tiny

# Enough layers that what loading compiles, some 20 MB, is small beside the weights.
LARGE = dict(
    hidden_size=1024, intermediate_size=2816, num_hidden_layers=12, num_attention_heads=16, num_key_value_heads=4
)


def write(directory: Path, **changes: int) -> Path:
    """Writes a model of random weights in bfloat16."""
    raw, rng = {**tiny.CONFIG, **changes}, np.random.default_rng(0)
    parts = [part for slices in stored_slices(from_hugging_face(raw)).values() for part in slices]
    tensors = {p.name: rng.random(p.stored_shape, np.float32).astype(ml_dtypes.bfloat16) for p in parts}
    directory.mkdir()
    save_file(tensors, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps(raw))
    return directory


def status(key: str) -> int:
    """Bytes that the kernel reports of this process."""
    actual = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert actual
    return int(actual[1]) * 1024


def grown(directory: Path) -> float:
    """Returns the peak memory of loading, as a multiple of the weights."""
    engine = EngineConfig(dtype="bfloat16")
    model = read_config(directory)
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again
    before = status("VmRSS")
    placement = Placement.create(engine.mesh, model)
    params, *_ = load_parameters(directory, model, model, engine, placement, tune_process=True)
    return (status("VmHWM") - before) / sum(leaf.nbytes for leaf in jax.tree.leaves(params))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("form", ["plain", "native"])
def test_loading_holds_little_more_than_the_weights(tmp_path: Path, form: str) -> None:
    for name, changes in (("small", {}), ("large", LARGE)):
        plain = write(tmp_path / f"{name} plain", **changes)
        if form == "native":
            convert(plain, tmp_path / f"{name} native")
    script = (
        "import sys; from pathlib import Path; from tests.runtime.test_memory import grown\n"
        "for name in ('small', 'large'): print(grown(Path(sys.argv[1]) / f'{name} {sys.argv[2]}'))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path), form]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "JAX_PLATFORMS": "cpu"})
    _, large = map(float, done.stdout.split())  # the first includes what is loaded and compiled once
    assert 1 <= large < 1.2
