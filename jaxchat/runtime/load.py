"""From a model directory to a warm runner."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax

from jaxchat.config import EngineConfig
from jaxchat.models.checkpoints import has_orbax, restore_orbax
from jaxchat.models.config import ModelConfig
from jaxchat.models.families import read_config
from jaxchat.models.weights import load_hf
from jaxchat.runtime.compiling import use_cache
from jaxchat.runtime.ladder import agreeing
from jaxchat.runtime.mesh import Placement
from jaxchat.runtime.runner import Runner
from jaxchat.runtime.state import Sizes
from jaxchat.sampling.sample import sample

Report = Callable[[str, int, int], None]
"""`report(stage, done, total)` while loading and compiling."""


@dataclass(frozen=True)
class Loaded:
    """A runner that is ready, with what identifies it."""

    runner: Runner
    model: ModelConfig
    sizes: Sizes
    fingerprint: str
    device: str
    parameters: int  # weights, a tied embedding counted once


def load_runner(
    directory: Path, engine: EngineConfig, *, valid: int, text_digest: str, report: Report = lambda *_: None
) -> Loaded:
    """Loads weights, compiles and warms up.

    Args:
        directory: a model in Hugging Face form.
        engine: sizes of the programs.
        valid: token ids from 0 that the tokenizer knows.
        text_digest: digest of tokenizer and chat template, for the fingerprint.
        report: told of the progress.

    Raises:
        ModelError: the model cannot be loaded.
        ValueError: sizes or devices do not fit the model.
    """
    _use_cache(engine.cache_dir)
    model = read_config(directory)
    sizes = Sizes.resolve(engine, model)
    model = model.within(sizes.context)
    placement = Placement.create(engine.mesh, model)
    params, weights = _load_weights(directory, model, engine.dtype, placement, report)
    sampler = partial(sample, valid=min(valid, model.vocab_size), report=engine.logprobs)
    runner = Runner(model, params, sizes, placement, dtype=engine.dtype, sampler=sampler, ladder=engine.ladder)
    runner.warm_up(lambda done, total: report("compiling programs", done, total))
    if engine.determinism == "exact":
        runner.restrict(agreeing(runner))
    kind = jax.devices()[0].device_kind
    identity = [weights, text_digest, engine.dtype, str(engine.tensor_parallel), kind, jax.__version__]
    identity.append(engine.determinism)
    digest = hashlib.sha256("\n".join([*identity, *runner.digests()]).encode()).hexdigest()
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    return Loaded(runner, model, sizes, f"fp_{digest[:10]}", f"{placement.mesh.size} x {kind}", count)


def _load_weights(
    directory: Path, model: ModelConfig, dtype: str, placement: Placement, report: Report
) -> tuple[dict[str, Any], str]:
    """From an Orbax checkpoint where the directory holds one, else from safetensors."""
    if has_orbax(directory):
        report("loading weights", 0, 1)
        return restore_orbax(directory, model, dtype=dtype, sharding=placement.parameter)
    return load_hf(
        directory,
        model,
        dtype=dtype,
        place=placement.place,
        progress=lambda done, total: report("loading weights", done, total),
    )


def _use_cache(setting: str) -> None:
    if setting != "off":
        use_cache(Path(setting) if setting else Path.home() / ".cache" / "jaxchat" / "compiled")
