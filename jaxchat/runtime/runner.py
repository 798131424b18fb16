"""Owns the device: parameters, pages, slots and the compiled programs. Used by one thread only."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from jaxchat.kernels.attention.backend import AttentionBackend
from jaxchat.models.config import ModelConfig
from jaxchat.models.sharding import TensorParallel
from jaxchat.parallel.distributed import block_each_step, put
from jaxchat.parallel.mesh import Placement
from jaxchat.runtime.compile import CompileCounter, hlo_digest, options
from jaxchat.runtime.packing import PackedLayout
from jaxchat.runtime.program_specs import decode_name, prefill_name, sources
from jaxchat.runtime.programs import output_layout
from jaxchat.runtime.state import EngineShapes, KVPages, SlotState, slot_shardings
from jaxchat.runtime.swap import PendingSwapOut, Swapper
from jaxchat.sampling.mask import mask_words
from jaxchat.sampling.sample import Sampler
from jaxchat.sampling.state import BIAS_ENTRIES
from jaxchat.types import DecodeWork, PrefillWork, Progress, SamplingParams, StepResult, SwapInWork, SwapOutWork


@dataclass(frozen=True)
class Handle:
    """A dispatched step whose output is on its way to the host; its first `rows` rows are wanted."""

    output: jax.Array
    layout: PackedLayout
    rows: int

    def wait(self) -> StepResult:
        """Blocks until the output has arrived."""
        arrays = {name: array[: self.rows] for name, array in self.layout.host_views(np.asarray(self.output)).items()}
        return StepResult(finite=arrays.pop("finite") != 0, **arrays)


class Done:
    """A step that leaves nothing for the host."""

    def wait(self) -> None:
        """Does not block."""


class Runner:
    """Compiles and runs the programs; implements `jaxchat.types.StepRunner`.

    There is a prefill program for each chunk of `sizes`, a decode program for each row count of the ladder. `chunks`
    and `shapes` have those in use, rising: all, until `restrict` is told which of them agree.
    """

    def __init__(
        self,
        model: ModelConfig,
        params: dict[str, Any],
        sizes: EngineShapes,
        placement: Placement,
        *,
        dtype: str,
        sampler: Sampler,
        attention: AttentionBackend,
        decode_sizes: tuple[int, ...] = (),
    ) -> None:
        """Nothing compiles yet.

        Args:
            params: placed by `placement`.
            sampler: `jaxchat.sampling.sample` with its static arguments.
            attention: computes attention, and says how pages are laid out.
            ladder: row counts of the decode programs, rising, the last one S.
        """
        self.sizes = sizes
        self.params = params
        self.placement = placement
        self.decode_buckets, self.prefill_buckets = decode_sizes or (sizes.slots,), sizes.prefill_buckets
        zeros = partial(KVPages.zeros, attention, model.num_layers, sizes)
        self.pages = jax.jit(zeros, out_shardings=placement.pages(attention))()
        slots = partial(SlotState.zeros, sizes)
        self.slots = jax.jit(slots, out_shardings=slot_shardings(jax.eval_shape(slots), placement))()
        spread = TensorParallel.over(placement.mesh, dtype, jax.default_backend(), experts=placement.whole_experts)
        self._sources = sources(model, spread, sizes, sampler, attention, self.decode_buckets)
        self._outputs = {name: output_layout(source.rows, sizes.vocab) for name, source in self._sources.items()}
        unruled = {
            name: np.zeros((source.rows, mask_words(sizes.vocab)), np.uint32) for name, source in self._sources.items()
        }
        self._unruled = put(unruled, placement.replicated)  # what steps without a grammar are given
        self._block_each_step = block_each_step(placement.replicated)
        self._swapper = Swapper(self.pages, self.slots, sizes, placement, attention)
        self.programs: dict[str, Any] = {}
        self._digests: dict[str, str] = {}
        self._counter: CompileCounter | None = None

    def warm_up(
        self, progress: Progress = lambda done, total: None, compiled_all: Callable[[], None] = lambda: None
    ) -> None:
        """Compiles every program and runs each once with nothing to do; afterwards nothing compiles any more.

        `compiled_all` is called before the first one runs.
        """
        given = self.params, self.pages, self.slots, self.placement
        compiled, wanted = {}, options(jax.default_backend())
        progress(0, len(self._sources) + len(self._swapper.lowered))
        with ThreadPoolExecutor() as pool:  # a program compiles while the next one is lowered, on this thread
            pending = {
                name: pool.submit(source.lower(*given).compile, wanted) for name, source in self._sources.items()
            }
            pending |= {name: pool.submit(program.compile, wanted) for name, program in self._swapper.lowered.items()}
            for done, (name, future) in enumerate(pending.items(), 1):
                compiled[name] = future.result()
                progress(done, len(pending))
            self.programs = {name: compiled[name] for name in self._sources}
            self._digests = dict(zip(self.programs, pool.map(hlo_digest, self.programs.values()), strict=True))
        self._swapper.programs = {name: compiled[name] for name in self._swapper.lowered}
        compiled_all()
        self._run_idle()
        self._counter = CompileCounter()

    def restrict(self, prefill_buckets: tuple[int, ...], decode_buckets: tuple[int, ...]) -> None:
        """Uses only the prefill programs of these sizes and the decode programs of these row counts, the last one S."""
        self.prefill_buckets, self.decode_buckets = prefill_buckets, decode_buckets
        kept = {*map(prefill_name, prefill_buckets), *map(decode_name, decode_buckets)}
        self.programs = {name: program for name, program in self.programs.items() if name in kept}

    @property
    def compiles_after_ready(self) -> int:
        """Programs that steps have compiled since the warm-up ended."""
        return self._counter.count if self._counter else 0

    def digests(self) -> list[str]:
        """One digest per program; together they say which numbers this runner computes."""
        return [f"{name}:{self._digests[name]}" for name in sorted(self.programs)]

    def prefill(self, work: PrefillWork) -> Handle:
        """Dispatches some tokens of a prompt, in the smallest program that holds them."""
        return self.prefill_in(next(size for size in self.prefill_buckets if size >= len(work.tokens)), work)

    def prefill_in(self, chunk: int, work: PrefillWork) -> Handle:
        """Dispatches some tokens of a prompt in the program of `chunk` tokens."""
        return self._dispatch(prefill_name(chunk), self._pack_prefill(chunk, work), work.token_mask, 1)

    def decode(self, work: DecodeWork) -> Handle:
        """Dispatches one token for each slot, in the smallest program that holds them."""
        return self.decode_in(next(rows for rows in self.decode_buckets if rows >= len(work.slots)), work)

    def decode_in(self, rows: int, work: DecodeWork) -> Handle:
        """Dispatches one token for each slot in the program of `rows` rows."""
        packed = self._sources[decode_name(rows)].layout.pack(
            slots=_fill(work.slots, rows, self.sizes.slots),
            new_pages=_fill(work.new_pages, rows, -1),
            constrained=False if work.constrained is None else _fill(work.constrained, rows, False),
        )
        token_mask = None if work.token_mask is None else _fill(work.token_mask, rows, 0)
        return self._dispatch(decode_name(rows), packed, token_mask, len(work.slots))

    def swap_out(self, work: SwapOutWork) -> PendingSwapOut:
        """Dispatches copies of a slot and its pages to the host."""
        leaving = self._swapper.read(self.pages, self.slots, work)
        self._keep_step(leaving.row)
        return leaving

    def swap_in(self, work: SwapInWork) -> Done:
        """Dispatches the way back, into any slot and any pages."""
        self.pages, self.slots = self._swapper.write(self.pages, self.slots, work)
        self._keep_step()
        return Done()

    def _keep_step(self, *more: Any) -> None:
        if self._block_each_step:
            jax.block_until_ready((self.pages, self.slots, more))

    def _run_idle(self) -> None:
        nothing = np.zeros(0, np.int32)
        self.prefill(PrefillWork(0, np.zeros(1, np.int32), 0, True, nothing, 0, SamplingParams(temperature=0.0))).wait()
        for rows in self.decode_buckets:
            self.decode_in(rows, DecodeWork(nothing, nothing)).wait()
        self.swap_in(SwapInWork(0, nothing, 0, self.swap_out(SwapOutWork(0, nothing)).wait()))

    def _dispatch(self, name: str, packed: np.ndarray, bits: np.ndarray | None, rows: int) -> Handle:
        if self._counter:
            self._counter.watch()  # steps come from the engine's own thread
        given = put(packed, self.placement.replicated)
        token_mask = self._unruled[name] if bits is None else put(bits, self.placement.replicated)
        self.pages, self.slots, output = self.programs[name](self.params, self.pages, self.slots, given, token_mask)
        output.copy_to_host_async()
        self._keep_step()
        return Handle(output, self._outputs[name], rows)

    def _pack_prefill(self, chunk: int, work: PrefillWork) -> np.ndarray:
        sizes, s = self.sizes, work.sampling
        first, count = work.start // sizes.page_size, chunk // sizes.page_size
        ids, bias = _bias(s, sizes.vocab)
        return self._sources[prefill_name(chunk)].layout.pack(
            slot=work.slot,
            start=work.start,
            count=len(work.tokens),
            last=work.last,
            choice=work.choice,
            logprobs=s.logprobs,
            constrained=work.token_mask is not None,
            temperature=s.temperature,
            top_p=s.top_p,
            frequency=s.frequency_penalty,
            presence=s.presence_penalty,
            seed=np.array([s.seed >> 32, s.seed & 0xFFFFFFFF], np.uint32),
            tokens=_fill(work.tokens, chunk, 0),
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
    filled = np.full((size, *values.shape[1:]), rest, values.dtype)
    filled[: len(values)] = values
    return filled
