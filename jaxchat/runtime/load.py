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
from jaxchat.models.checkpoints import shapes
from jaxchat.models.config import ModelConfig
from jaxchat.models.families import read_config
from jaxchat.runtime.compiling import cache_folder, use_cache
from jaxchat.runtime.fitting import fitted
from jaxchat.runtime.ladder import agreeing, agreeing_chunks
from jaxchat.runtime.mesh import Placement
from jaxchat.runtime.native import attention_here
from jaxchat.runtime.parameters import Report, load_parameters
from jaxchat.runtime.runner import Runner
from jaxchat.runtime.state import Sizes
from jaxchat.sampling.sample import sample

Agree = Callable[[dict[str, str]], None]
"""`agree(digests)` of weights and programs, by name."""


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

    @property
    def scheduling(self) -> dict[str, Any]:
        """What a `jaxchat.engine.scheduler.Scheduler` must know of the programs."""
        sizes = self.sizes
        return {
            "slots": sizes.slots,
            "chunks": self.runner.chunks,
            "page_size": sizes.page_size,
            "pages": sizes.pages,
            "vocab": sizes.vocab,
        }


def load_runner(
    directory: Path,
    engine: EngineConfig,
    *,
    valid: int,
    text_digest: str,
    report: Report = lambda *_: None,
    agree: Agree = lambda digests: None,
) -> Loaded:
    """Loads weights, compiles and warms up.

    Args:
        directory: a model in Hugging Face form.
        engine: sizes of the programs.
        valid: token ids from 0 that the tokenizer knows.
        text_digest: digest of tokenizer and chat template, for the fingerprint.
        report: told of the progress.
        agree: in a pod, waits until all processes have the same digests, without which they could not run together.

    Raises:
        ModelError: the model cannot be loaded.
        ValueError: sizes or devices do not fit the model.
    """
    if folder := cache_folder(engine.cache_dir):
        use_cache(folder)
    model = read_config(directory)
    context = Sizes.resolve(engine, model).context
    model = model.within(context)
    served = fitted(model, engine.tensor_parallel)
    sizes = Sizes.resolve(engine, served)
    placement = Placement.create(engine.mesh, served)
    params, weights, products = load_parameters(directory, model, served, engine, placement, report)
    sampler = partial(sample, valid=min(valid, model.vocab_size), report=engine.logprobs)
    attention = attention_here(engine, served, placement, folder)
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
    runner.warm_up(
        lambda done, total: report("compiling programs", done, total),
        lambda: agree({"weights": weights, **dict(digest.rsplit(":", 1) for digest in runner.digests())}),
    )
    if engine.determinism == "exact":
        runner.restrict(agreeing_chunks(runner), agreeing(runner))
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
