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
from jaxchat.models.checkpoints import has_orbax, restore_orbax, shapes
from jaxchat.models.config import ModelConfig
from jaxchat.models.families import read_config
from jaxchat.models.weights import load_hf
from jaxchat.runtime.building import choose_attention
from jaxchat.runtime.compiling import use_cache
from jaxchat.runtime.fitting import fit, fitted
from jaxchat.runtime.ladder import agreeing
from jaxchat.runtime.mesh import Placement
from jaxchat.runtime.products import for_products
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
    attention: str
    products: str
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
    context = Sizes.resolve(engine, model).context
    model = model.within(context)
    served = fitted(model, engine.tensor_parallel)
    sizes = Sizes.resolve(engine, served)
    placement = Placement.create(engine.mesh, served)
    params, weights = _load_weights(directory, model, served, engine.dtype, placement, report)
    report("building kernels", 0, 1)
    params, products = for_products(params, served, engine, placement, _cache(engine.cache_dir))
    sampler = partial(sample, valid=min(valid, model.vocab_size), report=engine.logprobs)
    attention = choose_attention(engine, served, placement, jax.default_backend())
    runner = Runner(
        served,
        params,
        sizes,
        placement,
        dtype=engine.dtype,
        sampler=sampler,
        path=attention.path,
        ladder=engine.ladder,
    )
    runner.warm_up(lambda done, total: report("compiling programs", done, total))
    if engine.determinism == "exact":
        runner.restrict(agreeing(runner))
    kind = jax.devices()[0].device_kind
    identity = [weights, text_digest, engine.dtype, str(engine.tensor_parallel), kind, jax.__version__]
    identity.append(engine.determinism)
    digest = hashlib.sha256("\n".join([*identity, *runner.digests()]).encode()).hexdigest()
    return Loaded(
        runner,
        model,
        sizes,
        f"fp_{digest[:10]}",
        f"{placement.mesh.size} x {kind}",
        str(attention),
        products,
        sum(leaf.size for leaf in jax.tree.leaves(shapes(model))),
    )


def _load_weights(
    directory: Path, model: ModelConfig, served: ModelConfig, dtype: str, placement: Placement, report: Report
) -> tuple[dict[str, Any], str]:
    """From an Orbax checkpoint where the directory holds one, else from safetensors; `served` is `model` fitted."""
    if has_orbax(directory):
        report("loading weights", 0, 1)
        params, digest = restore_orbax(directory, model, dtype=dtype, sharding=placement.parameter)
        return _fit_all(params, model, served, placement), digest
    return load_hf(
        directory,
        model,
        dtype=dtype,
        place=lambda path, array: placement.place(path, fit(path, array, model, served)),
        progress=lambda done, total: report("loading weights", done, total),
    )


def _fit_all(params: dict[str, Any], model: ModelConfig, served: ModelConfig, placement: Placement) -> dict[str, Any]:
    """Parameters on their devices as `served` has them, one after the other."""

    def one(keys: tuple[jax.tree_util.DictKey, ...], array: jax.Array, wanted: jax.ShapeDtypeStruct) -> jax.Array:
        if array.shape == wanted.shape:
            return array
        path = tuple(key.key for key in keys)
        place = placement.parameter(path, wanted.shape)
        return jax.jit(partial(fit, path, model=model, target=served), out_shardings=place)(array)

    fitted_params: dict[str, Any] = jax.tree_util.tree_map_with_path(one, params, shapes(served))
    return fitted_params


def _use_cache(setting: str) -> None:
    if folder := _cache(setting):
        use_cache(folder)


def _cache(setting: str) -> Path | None:
    if setting == "off":
        return None
    return Path(setting) if setting else Path.home() / ".cache" / "jaxchat" / "compiled"
