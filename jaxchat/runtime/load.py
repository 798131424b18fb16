"""Loads a model directory into warm runners, one for each copy of the model."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import jax

from jaxchat.cache import cache_folder
from jaxchat.checkpoints.stored_config import read_stored_config
from jaxchat.config import EngineConfig
from jaxchat.fingerprint import fingerprint
from jaxchat.kernels.attention.select import find_backend
from jaxchat.kernels.cpp.build import cpu
from jaxchat.kernels.matmul.grouped import GroupedWeight
from jaxchat.models.config import ModelConfig
from jaxchat.models.param_specs import param_count
from jaxchat.parallel.mesh import Placement
from jaxchat.parallel.padding import padded_config
from jaxchat.runtime.compile import compile_cache
from jaxchat.runtime.determinism import agreeing_decode_buckets, agreeing_prefill_buckets, prompts_agree, rows_agree
from jaxchat.runtime.matmul_backend import select_attention
from jaxchat.runtime.parameters import load_parameters
from jaxchat.runtime.process_tuning import trim_afterwards
from jaxchat.runtime.runner import Runner
from jaxchat.runtime.start_record import Agreement, StartRecord, digest_of, machine
from jaxchat.runtime.state import EngineShapes
from jaxchat.sampling.processors import find_processors
from jaxchat.sampling.sample import sample
from jaxchat.types import Report

Agree = Callable[[dict[str, str]], None]
"""`agree(digests)` compares digests of weights and programs, by name, with those of the other processes."""
_UNRELATED = ("cache_dir", "max_queued", "speculate")  # settings that programs do not depend on


@dataclass(frozen=True)
class Loaded:
    """Runners that are ready, one for each copy of the model, with the facts that identify and describe them."""

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
        """The first runner."""
        return self.runners[0]

    @property
    def kv_bytes(self) -> int:
        """The bytes of all KV pages: of all copies of the model, on all devices."""
        return sum(leaf.nbytes for runner in self.runners for leaf in jax.tree.leaves(runner.pages))

    @property
    def platform(self) -> str:
        """The platform of jax, such as "cpu" or "tpu"."""
        return jax.default_backend()

    @property
    def compiles_after_ready(self) -> int:
        """The number of programs that steps have compiled since the warm-up ended."""
        return sum(runner.compiles_after_ready for runner in self.runners)

    def close(self) -> None:
        """Undoes what loading has registered with jax. No step may follow."""
        for runner in self.runners:
            runner.close()

    @property
    def scheduling(self) -> dict[str, Any]:
        """The arguments of `jaxchat.engine.scheduler.Scheduler` that depend on the programs."""
        sizes = self.sizes
        return {
            "slots": sizes.slots,
            "prefill_buckets": self.runner.prefill_buckets,
            "decode_buckets": self.runner.decode_buckets,
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
    tune_process: bool = False,
) -> Loaded:
    """Loads the weights, then compiles and warms up the programs, for each copy of the model.

    Restores jax's settings of the compilation cache at the end. If `tune_process` is False, changes no other setting of
    the process. Compilations are counted until `Loaded.close`.

    Args:
        directory: a model in Hugging Face or Orbax format, or the view of a GGUF file, see `find_model`.
        engine: settings.
        valid: number of token ids, counted from 0, that the tokenizer knows.
        text_digest: digest of tokenizer and chat template, for the fingerprint.
        report: called with the progress, see `Report`.
        agree: in a multihost group, waits until all processes have reported the same digests. Errors that it raises are
            passed on.
        tune_process: whether to change the C library's allocator permanently; for processes that only serve.

    Raises:
        ModelError: the model cannot be loaded.
        OSError: `engine.cache_dir` names a folder that cannot be written.
        RegistryError: an attention backend or a logits processor of `engine` is not registered.
        ValueError: sizes or devices do not fit the model, or a logits processor has no `identity`. Also raised if
            `engine.determinism` is "exact" and answers could depend on the copy of the model, the slot or other
            prompts.
    """
    with trim_afterwards(), compile_cache.kept_in(cache_folder(engine.cache_dir)):
        loaded = _load(directory, engine, valid, text_digest, report, agree, tune_process)
        gc.collect()  # what jax traced is in reference cycles
        return loaded


def _load(
    directory: Path,
    engine: EngineConfig,
    valid: int,
    text_digest: str,
    report: Report,
    agree: Agree,
    tune_process: bool,
) -> Loaded:
    folder = cache_folder(engine.cache_dir)
    model = read_stored_config(directory)
    find_backend(engine.attention)  # an unknown name is refused before weights are read
    processors = find_processors(engine.logits_processors)
    processor_ids = [processor.identity for processor in processors]
    context = EngineShapes.resolve(engine, model).max_seq_len
    model = model.for_max_seq_len(context)
    padded = padded_config(model, engine.tensor_parallel)
    sizes = EngineShapes.resolve(engine, padded)
    first, *_ = placements = Placement.copies(engine.mesh, padded)
    params, weights, products = load_parameters(
        directory, model, padded, engine, first, report, tune_process=tune_process
    )
    attention = select_attention(engine, padded, first, folder)
    runners = tuple(
        Runner(
            padded,
            params if placement is first else placement.copy(params),
            sizes,
            placement,
            dtype=engine.dtype,
            sampler=partial(sample, valid=min(valid, model.vocab_size), report=engine.logprobs, processors=processors),
            attention=attention.backend,
            decode_sizes=_decode_sizes(engine, params),
        )
        for placement in placements
    )

    def compiled(runner: Runner) -> None:
        programs = dict(digest.rsplit(":", 1) for digest in runner.digests())
        agree({"weights": weights, **programs, **{f"logits processor {id_}": id_ for id_ in processor_ids}})

    record = StartRecord(folder, [*_settings(engine, padded), *processor_ids])
    stage = "loading programs" if record.exists else "compiling programs"
    for runner in runners:
        runner.warm_up(partial(report, stage), partial(compiled, runner))
    if engine.determinism == "exact":
        _restrict_to_agreeing(runners, weights, record, report)
    else:
        record.write("", None)
    kind = jax.devices()[0].device_kind
    identity = [weights, text_digest, engine.dtype, str(engine.tensor_parallel), kind, jax.__version__]
    identity.append(engine.determinism)
    identity += processor_ids  # a program's text leaves out large constants
    if jax.default_backend() == "cpu":  # the programs' text does not contain their instructions
        identity.append(cpu())
    return Loaded(
        runners,
        model,
        sizes,
        fingerprint("\n".join([*identity, *runners[0].digests()])),
        f"{len(runners) * first.mesh.size} x {kind}",
        str(attention),
        products,
        param_count(model),
    )


def _decode_sizes(engine: EngineConfig, params: Any) -> tuple[int, ...]:
    """Returns the row counts of the decode programs.

    The default includes a program for a single row only if weights are in groups: a second row makes products with such
    weights up to a fifth slower. In other products a second row costs nothing, because they wait for memory.
    """
    packed = jax.tree.leaves(params, is_leaf=lambda leaf: isinstance(leaf, GroupedWeight))
    single = engine.decode_buckets is None and any(isinstance(leaf, GroupedWeight) for leaf in packed)
    return tuple(sorted({1, *engine.decode_sizes} if single else {*engine.decode_sizes}))


def _settings(engine: EngineConfig, padded: ModelConfig) -> list[str]:
    """Returns the facts that decide which programs are compiled: model, settings and machine."""
    settings = [
        f"{field.name}={getattr(engine, field.name)}" for field in fields(engine) if field.name not in _UNRELATED
    ]
    return [repr(padded), *settings, *machine()]


def _restrict_to_agreeing(runners: tuple[Runner, ...], weights: str, record: StartRecord, report: Report) -> None:
    """Restricts the runners to programs whose bits agree.

    Processes of a multihost group ignore the record and always compare, because all must run the same steps.

    Raises:
        ValueError: the runners' programs differ, or bits depend on the slot, the row or other prompts.
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
        record.write(identity, agreement := _find_agreement(first))
        report("comparing programs", 1, 1)
    for runner in runners:
        runner.restrict(agreement.prefill_buckets, agreement.decode_buckets)


def _find_agreement(first: Runner) -> Agreement:
    """Returns the programs that agree. Raises ValueError if bits depend on the slot, the row or other prompts."""
    if not rows_agree(first):
        raise ValueError(
            "determinism exact: on these devices the numbers of a sequence depend on its slot, so that "
            "load could change an answer; determinism fast allows it"
        )
    if not prompts_agree(first):
        raise ValueError(
            "determinism exact: on these devices the numbers of a prompt depend on other prompts in its steps, so that "
            "load could change an answer; determinism fast allows it"
        )
    return Agreement(agreeing_prefill_buckets(first), agreeing_decode_buckets(first))
