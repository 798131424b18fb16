"""Owns the device: parameters, pages, slots and the compiled programs. Used by one thread only."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxchat.models.config import ModelConfig
from jaxchat.models.decoder import Decoder
from jaxchat.runtime.compiling import CompileCounter, hlo_digest
from jaxchat.runtime.layout import Layout
from jaxchat.runtime.mesh import Placement
from jaxchat.runtime.programs import (
    Step,
    decode_layout,
    decode_program,
    output_layout,
    prefill_layout,
    prefill_program,
)
from jaxchat.runtime.state import KVPages, Sizes, SlotState
from jaxchat.sampling.legal import words
from jaxchat.sampling.sample import Sampler
from jaxchat.sampling.state import BIAS_ENTRIES
from jaxchat.types import DecodeWork, PrefillWork, SamplingParams, StepResult

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Handle:
    """A dispatched step whose output is on its way to the host."""

    output: jax.Array
    layout: Layout

    def wait(self) -> StepResult:
        """Blocks until the output has arrived."""
        arrays = self.layout.views(np.asarray(self.output))
        return StepResult(finite=arrays.pop("finite") != 0, **arrays)


class Runner:
    """Compiles and runs `prefill` and `decode`; implements `jaxchat.types.StepRunner`."""

    def __init__(
        self,
        model: ModelConfig,
        params: dict[str, Any],
        sizes: Sizes,
        placement: Placement,
        *,
        dtype: str,
        sampler: Sampler,
    ) -> None:
        """Args: `params` placed by `placement`; `sampler`: `jaxchat.sampling.sample` with its static arguments."""
        self.sizes = sizes
        self.params = params
        self.placement = placement
        self.pages = jax.device_put(KVPages.zeros(model, sizes, dtype), placement.pages)
        self.slots = jax.device_put(SlotState.zeros(sizes), placement.replicated)
        decoder = Decoder(model)
        self._sources: dict[str, tuple[Step, Layout]] = {
            "prefill": (prefill_program(decoder, sizes, sampler), prefill_layout(sizes)),
            "decode": (decode_program(decoder, sizes, sampler), decode_layout(sizes)),
        }
        self._layouts = {name: layout for name, (_, layout) in self._sources.items()}
        rows = {"prefill": 1, "decode": sizes.slots}
        unruled = {name: np.zeros((count, words(sizes.vocab)), np.uint32) for name, count in rows.items()}
        self._unruled = jax.device_put(unruled, placement.replicated)  # what steps without a grammar are given
        self._outputs = {name: output_layout(count, sizes.vocab) for name, count in rows.items()}
        self.programs: dict[str, Any] = {}
        self._counter: CompileCounter | None = None

    def warm_up(self, progress: Progress = lambda done, total: None) -> None:
        """Compiles every program and runs each once with nothing to do; afterwards nothing compiles any more."""
        lowered = {name: self._lower(*source, self._unruled[name]) for name, source in self._sources.items()}
        with ThreadPoolExecutor() as pool:
            pending = {name: pool.submit(program.compile) for name, program in lowered.items()}
            for done, (name, future) in enumerate(pending.items()):
                progress(done, len(pending))
                self.programs[name] = future.result()
        idle = np.zeros(self.sizes.slots, np.int32)
        self.prefill(_nothing(self.sizes)).wait()
        self.decode(DecodeWork(idle != 0, idle - 1)).wait()
        progress(len(pending), len(pending))
        self._counter = CompileCounter()

    @property
    def compiles_after_ready(self) -> int:
        """Programs that steps have compiled since the warm-up ended."""
        return self._counter.count if self._counter else 0

    def digests(self) -> list[str]:
        """One digest per program; together they say which numbers this runner computes."""
        return [f"{name}:{hlo_digest(program)}" for name, program in sorted(self.programs.items())]

    def prefill(self, work: PrefillWork) -> Handle:
        """Dispatches one chunk."""
        return self._dispatch("prefill", self._pack_prefill(work), work.legal)

    def decode(self, work: DecodeWork) -> Handle:
        """Dispatches one token for every active slot."""
        constrained = False if work.constrained is None else work.constrained
        packed = self._layouts["decode"].pack(active=work.active, new_pages=work.new_pages, constrained=constrained)
        return self._dispatch("decode", packed, work.legal)

    def _lower(self, step: Step, layout: Layout, bits: jax.Array) -> Any:
        packed = jax.ShapeDtypeStruct((layout.size,), np.int32, sharding=self.placement.replicated)
        shardings = (
            jax.tree.map(lambda leaf: leaf.sharding, self.pages),
            jax.tree.map(lambda leaf: leaf.sharding, self.slots),
            self.placement.replicated,
        )
        jitted = jax.jit(step, donate_argnums=(1, 2), out_shardings=shardings)
        return jitted.lower(self.params, self.pages, self.slots, packed, bits)

    def _dispatch(self, name: str, packed: np.ndarray, bits: np.ndarray | None) -> Handle:
        if self._counter:
            self._counter.watch()  # steps come from the engine's own thread
        given = jax.device_put(packed, self.placement.replicated)
        legal = self._unruled[name] if bits is None else jax.device_put(bits, self.placement.replicated)
        self.pages, self.slots, output = self.programs[name](self.params, self.pages, self.slots, given, legal)
        output.copy_to_host_async()
        return Handle(output, self._outputs[name])

    def _pack_prefill(self, work: PrefillWork) -> np.ndarray:
        sizes, s = self.sizes, work.sampling
        first, count = work.start // sizes.page_size, sizes.chunk // sizes.page_size
        ids, bias = _bias(s, sizes.vocab)
        return self._layouts["prefill"].pack(
            slot=work.slot,
            start=work.start,
            count=len(work.tokens),
            last=work.last,
            choice=work.choice,
            logprobs=s.logprobs,
            constrained=work.legal is not None,
            temperature=s.temperature,
            top_p=s.top_p,
            frequency=s.frequency_penalty,
            presence=s.presence_penalty,
            seed=np.array([s.seed >> 32, s.seed & 0xFFFFFFFF], np.uint32),
            tokens=_fill(work.tokens, sizes.chunk, 0),
            chunk_pages=_fill(work.pages[first : first + count], count, sizes.pages),
            table=_fill(work.pages, sizes.table, 0),
            bias_ids=ids,
            bias=bias,
        )


def _bias(sampling: SamplingParams, vocab: int) -> tuple[np.ndarray, np.ndarray]:
    entries = sampling.logit_bias
    ids = _fill(np.array([token for token, _ in entries], np.int32), BIAS_ENTRIES, vocab)
    return ids, _fill(np.array([value for _, value in entries], np.float32), BIAS_ENTRIES, 0)


def _fill(values: np.ndarray, size: int, rest: int) -> np.ndarray:
    filled = np.full(size, rest, values.dtype)
    filled[: len(values)] = values
    return filled


def _nothing(sizes: Sizes) -> PrefillWork:
    """A chunk that writes to no page; slot 0 is overwritten by the first real one."""
    empty = np.zeros(0, np.int32)
    return PrefillWork(0, np.zeros(1, np.int32), 0, True, empty, 0, SamplingParams(temperature=0.0))
