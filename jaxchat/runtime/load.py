"""From a model directory to warm runners, one for each copy of the model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import jax

from jaxchat.cache import cache_folder
from jaxchat.checkpoints.orbax import shapes
from jaxchat.config import EngineConfig
from jaxchat.kernels.cpp.build import cpu
from jaxchat.models.config import ModelConfig
from jaxchat.models.families import read_config
from jaxchat.parallel.mesh import Placement
from jaxchat.parallel.padding import padded_config
from jaxchat.runtime.compile import use_cache
from jaxchat.runtime.determinism import agreeing, agreeing_chunks, rows_agree
from jaxchat.runtime.matmul_backend import attention_here
from jaxchat.runtime.parameters import load_parameters
from jaxchat.runtime.runner import Runner
from jaxchat.runtime.start_record import Agreement, StartRecord, digest_of, machine
from jaxchat.runtime.state import EngineShapes
from jaxchat.sampling.sample import sample
from jaxchat.types import Report

Agree = Callable[[dict[str, str]], None]
"""`agree(digests)` of weights and programs, by name."""
_UNSEEN = ("cache_dir", "queue")  # settings that no program depends on


@dataclass(frozen=True)
class Loaded:
    """Runners that are ready and compute the same bits, with what identifies them."""

    runners: tuple[Runner, ...]
    model: ModelConfig
    sizes: EngineShapes
    fingerprint: str
    device: str
    attention: str
    matmul_backend: str
    parameters: int  # weights, a tied embedding counted once

    @property
    def runner(self) -> Runner:
        """The first one."""
        return self.runners[0]

    @property
    def compiles_after_ready(self) -> int:
        """Programs that steps have compiled since the warm-up ended."""
        return sum(runner.compiles_after_ready for runner in self.runners)

    @property
    def scheduling(self) -> dict[str, Any]:
        """What a `jaxchat.engine.scheduler.Scheduler` must know of the programs."""
        sizes = self.sizes
        return {
            "slots": sizes.slots,
            "chunks": self.runner.prefill_buckets,
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
    """Loads weights, compiles and warms up, for each copy of the model.

    Args:
        directory: a model in Hugging Face form.
        engine: sizes of the programs.
        valid: token ids from 0 that the tokenizer knows.
        text_digest: digest of tokenizer and chat template, for the fingerprint.
        report: told of the progress.
        agree: in a pod, waits until all processes have the same digests, without which they could not run together.

    Raises:
        ModelError: the model cannot be loaded.
        ValueError: sizes or devices do not fit the model, or its copies would answer differently.
    """
    if folder := cache_folder(engine.cache_dir):
        use_cache(folder)
    model = read_config(directory)
    context = EngineShapes.resolve(engine, model).max_seq_len
    model = model.for_max_seq_len(context)
    served = padded_config(model, engine.tensor_parallel)
    sizes = EngineShapes.resolve(engine, served)
    first, *_ = placements = Placement.copies(engine.mesh, served)
    params, weights, products = load_parameters(directory, model, served, engine, first, report)
    attention = attention_here(engine, served, first, folder)
    runners = tuple(
        Runner(
            served,
            params if placement is first else placement.copy(params),
            sizes,
            placement,
            dtype=engine.dtype,
            sampler=partial(sample, valid=min(valid, model.vocab_size), report=engine.logprobs),
            attention=attention.backend,
            decode_sizes=engine.decode_sizes,
        )
        for placement in placements
    )

    def compiled(runner: Runner) -> None:
        agree({"weights": weights, **dict(digest.rsplit(":", 1) for digest in runner.digests())})

    record = StartRecord(folder, _settings(engine, served))
    stage = "loading programs" if record.exists else "compiling programs"
    for runner in runners:
        runner.warm_up(partial(report, stage), partial(compiled, runner))
    if engine.determinism == "exact":
        _use_what_agrees(runners, weights, record, report)
    else:
        record.write("", None)
    kind = jax.devices()[0].device_kind
    identity = [weights, text_digest, engine.dtype, str(engine.tensor_parallel), kind, jax.__version__]
    identity.append(engine.determinism)
    if jax.default_backend() == "cpu":  # the programs' text does not say which instructions compute them
        identity.append(cpu())
    digest = hashlib.sha256("\n".join([*identity, *runners[0].digests()]).encode()).hexdigest()
    return Loaded(
        runners,
        model,
        sizes,
        f"fp_{digest[:10]}",
        f"{len(runners) * first.mesh.size} x {kind}",
        str(attention),
        products,
        sum(leaf.size for leaf in jax.tree.leaves(shapes(model))),
    )


def _settings(engine: EngineConfig, served: ModelConfig) -> list[str]:
    """What decides which programs are compiled."""
    settings = [f"{field.name}={getattr(engine, field.name)}" for field in fields(engine) if field.name not in _UNSEEN]
    return [repr(served), *settings, *machine()]


def _use_what_agrees(runners: tuple[Runner, ...], weights: str, record: StartRecord, report: Report) -> None:
    """Restricts the runners to programs whose bits agree. Raises ValueError where runners or rows do not.

    Processes that share a model always try, for all of them must run the same steps.
    """
    first, *others = runners
    if any(runner.digests() != first.digests() for runner in others):
        raise ValueError(
            f"data_parallel {len(runners)}: the copies of the model were compiled differently, so that their answers "
            "could differ; a cache_dir lets them share programs, and determinism fast allows it"
        )
    identity = digest_of([weights, *first.digests(), *machine()])
    agreement = record.agreement(identity) if jax.process_count() == 1 else None
    if agreement is None:
        report("comparing programs", 0, 1)
        record.write(identity, agreement := _tried(first))
        report("comparing programs", 1, 1)
    for runner in runners:
        runner.restrict(agreement.prefill_buckets, agreement.decode_buckets)


def _tried(first: Runner) -> Agreement:
    """Finds the programs that agree. Raises ValueError where rows do not."""
    if not rows_agree(first):
        raise ValueError(
            "determinism exact: on these devices the numbers of a sequence depend on the slot that it gets, so that "
            "load could change an answer; determinism fast allows it"
        )
    return Agreement(agreeing_chunks(first), agreeing(first))
