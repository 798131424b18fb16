"""Owns the state on the device (parameters, pages, slots) and the compiled programs. Only one thread uses a runner."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxchat.config import most_slices
from jaxchat.kernels.attention.backend import ModelAttention
from jaxchat.models.config import ModelConfig
from jaxchat.models.sharding import TensorParallel
from jaxchat.parallel.distributed import block_each_step, put
from jaxchat.parallel.mesh import Placement
from jaxchat.runtime.compile import CompileCounter, hlo_digest, options
from jaxchat.runtime.packing import PackedLayout
from jaxchat.runtime.process_tuning import release_zeros
from jaxchat.runtime.program_specs import decode_name, prefill_name, program_specs
from jaxchat.runtime.programs import output_layout
from jaxchat.runtime.state import EngineShapes, KVPages, SlotState, slot_shardings
from jaxchat.runtime.swap import PendingSwapOut, Swapper
from jaxchat.sampling.mask import mask_words
from jaxchat.sampling.sample import Sampler
from jaxchat.sampling.state import SamplingState
from jaxchat.types import (
    DecodeWork,
    PrefillSlice,
    PrefillWork,
    Progress,
    SamplingParams,
    StepResult,
    SwapInWork,
    SwapOutWork,
)


@dataclass(frozen=True)
class Handle:
    """A dispatched step whose output is on its way to the host. Only the first `rows` rows are meaningful."""

    output: jax.Array
    layout: PackedLayout
    rows: int

    def wait(self) -> StepResult:
        """Blocks until the output has arrived, and returns it."""
        arrays = {name: array[: self.rows] for name, array in self.layout.host_views(np.asarray(self.output)).items()}
        return StepResult(finite=arrays.pop("finite") != 0, **arrays)


class Done:
    """A dispatched step without a result for the host."""

    def wait(self) -> None:
        """Returns at once."""


def _pages(attention: ModelAttention, sizes: EngineShapes, placement: Placement) -> KVPages:
    """Returns the KV pages. On a CPU, they take no memory until they are written."""
    make = jax.jit(jnp.zeros, static_argnums=(0, 1), out_shardings=placement.pages(attention.first))

    def zeros(page: jax.ShapeDtypeStruct) -> jax.Array:
        array = jax.block_until_ready(make(page.shape, page.dtype))
        release_zeros(array)
        return array

    return jax.tree.map(zeros, jax.eval_shape(partial(KVPages.zeros, attention, sizes)))


class Runner:
    """A `jaxchat.types.StepRunner`: the compiled programs and the device state that they update.

    There is a prefill program for each size in `sizes.prefill_buckets`, and a decode program for each of
    `decode_sizes`. `prefill_buckets` and `decode_buckets` are the sizes in use, in ascending order. At first all sizes
    are in use. `restrict` selects some of them.
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
        attention: ModelAttention,
        decode_sizes: tuple[int, ...] = (),
    ) -> None:
        """Creates the device state. `warm_up` compiles the programs.

        Args:
            model: the padded model.
            params: parameters, placed by `placement`.
            sizes: shapes of the programs.
            placement: devices of the model.
            dtype: dtype of the weights.
            sampler: `jaxchat.sampling.sample.sample` with its static arguments bound.
            attention: computes the attention of each layer and determines the layout of pages.
            decode_sizes: row counts of the decode programs, in ascending order. The last one must be the number of
                slots. Empty: one program, with a row for each slot.
        """
        self.sizes = sizes
        self.params = params
        self.placement = placement
        self.decode_buckets, self.prefill_buckets = decode_sizes or (sizes.slots,), sizes.prefill_buckets
        self.pages = _pages(attention, sizes, placement)
        slots = partial(SlotState.zeros, sizes)
        self.slots = jax.jit(slots, out_shardings=slot_shardings(jax.eval_shape(slots), placement))()
        spread = TensorParallel.over(placement.mesh, dtype, jax.default_backend(), experts=placement.whole_experts)
        self._specs = program_specs(model, spread, sizes, sampler, attention, self.decode_buckets)
        self._inputs = {name: spec.layout for name, spec in self._specs.items()}
        self._outputs = {name: output_layout(spec.rows, sizes.vocab) for name, spec in self._specs.items()}
        unruled = {
            name: np.zeros((spec.rows, mask_words(sizes.vocab)), np.uint32) for name, spec in self._specs.items()
        }
        self._unruled = put(unruled, placement.replicated)  # for steps without a grammar
        self._block_each_step = block_each_step(placement.replicated)
        self._swapper = Swapper(self.pages, self.slots, sizes, placement, attention.first)
        self.programs: dict[str, Any] = {}
        self._digests: dict[str, str] = {}
        self._counter: CompileCounter | None = None

    def warm_up(
        self, progress: Progress = lambda done, total: None, compiled_all: Callable[[], None] = lambda: None
    ) -> None:
        """Compiles every program, so that no step compiles anything afterwards. Can be called once.

        Then runs the smallest prefill program, all decode programs and a swap once.

        Args:
            progress: called with the number of compiled programs and the number of all programs, at the beginning and
                after each program.
            compiled_all: called when all programs are compiled, before the first program runs.
        """
        given = self.params, self.pages, self.slots, self.placement
        compiled, wanted = {}, options(jax.default_backend())
        specs, self._specs = self._specs, {}  # with them goes what jax keeps of their tracing
        progress(0, len(specs) + len(self._swapper.lowered))
        with ThreadPoolExecutor() as pool:  # compiles a program while this thread lowers the next one
            pending = {name: pool.submit(spec.lower(*given).compile, wanted) for name, spec in specs.items()}
            pending |= {name: pool.submit(program.compile, wanted) for name, program in self._swapper.lowered.items()}
            for done, (name, future) in enumerate(pending.items(), 1):
                compiled[name] = future.result()
                progress(done, len(pending))
            self.programs = {name: compiled[name] for name in specs}
            self._digests = dict(zip(self.programs, pool.map(hlo_digest, self.programs.values()), strict=True))
        self._swapper.programs = {name: compiled[name] for name in self._swapper.lowered}
        compiled_all()
        self._run_idle()
        self._counter = CompileCounter()

    def restrict(self, prefill_buckets: tuple[int, ...], decode_buckets: tuple[int, ...]) -> None:
        """Makes the runner use only some of its programs.

        Args:
            prefill_buckets: sizes of prefill steps in tokens, in ascending order.
            decode_buckets: row counts of decode steps, in ascending order. The last one must be the number of slots.
        """
        self.prefill_buckets, self.decode_buckets = prefill_buckets, decode_buckets
        kept = {*map(prefill_name, prefill_buckets), *map(decode_name, decode_buckets)}
        self.programs = {name: program for name, program in self.programs.items() if name in kept}

    @property
    def compiles_after_ready(self) -> int:
        """The number of programs that steps have compiled since the warm-up ended."""
        return self._counter.count if self._counter else 0

    def close(self) -> None:
        """Stops listening to jax's compiler. No step may follow."""
        if self._counter:
            self._counter.close()

    def digests(self) -> list[str]:
        """Returns `name:digest` for each program in use, sorted by name. The digests are those of `hlo_digest`."""
        return [f"{name}:{self._digests[name]}" for name in sorted(self.programs)]

    def prefill(self, work: PrefillWork) -> Handle:
        """Dispatches a prefill step in the smallest program that holds its tokens and its slices."""
        tokens, slices = work.tokens, len(work.slices)
        holding = (size for size in self.prefill_buckets if size >= tokens and most_slices(size) >= slices)
        return self.prefill_in(next(holding), work)

    def prefill_in(self, bucket: int, work: PrefillWork) -> Handle:
        """Dispatches a prefill step in the program of `bucket` tokens."""
        name, slices = prefill_name(bucket), work.slices
        masks = [part.token_mask for part in slices]
        bits = None
        if any(mask is not None for mask in masks):
            bits = np.zeros((most_slices(bucket), mask_words(self.sizes.vocab)), np.uint32)
            for row, mask in zip(bits, masks, strict=False):
                row[:] = 0 if mask is None else mask
        return self._dispatch(name, self._pack_prefill(bucket, slices), bits, len(slices))

    def decode(self, work: DecodeWork) -> Handle:
        """Dispatches a decode step in the smallest program that has enough rows."""
        return self.decode_in(next(rows for rows in self.decode_buckets if rows >= len(work.slots)), work)

    def decode_in(self, rows: int, work: DecodeWork) -> Handle:
        """Dispatches a decode step in the program of `rows` rows."""
        packed = self._inputs[decode_name(rows)].pack(
            slots=_fill(work.slots, rows, self.sizes.slots),
            new_pages=_fill(work.new_pages, rows, -1),
            constrained=False if work.constrained is None else _fill(work.constrained, rows, False),
            drafts=-1 if work.drafts is None else _fill(work.drafts, rows, -1),
        )
        token_mask = None if work.token_mask is None else _fill(work.token_mask, rows, 0)
        return self._dispatch(decode_name(rows), packed, token_mask, len(work.slots))

    def swap_out(self, work: SwapOutWork) -> PendingSwapOut:
        """Dispatches copies of a slot and its pages to the host."""
        leaving = self._swapper.read(self.pages, self.slots, work)
        self._keep_step(leaving.row)
        return leaving

    def swap_in(self, work: SwapInWork) -> Done:
        """Dispatches copies of a swapped sequence to the slot and the pages of `work`."""
        self.pages, self.slots = self._swapper.write(self.pages, self.slots, work)
        self._keep_step()
        return Done()

    def _keep_step(self, *more: Any) -> None:
        if self._block_each_step:
            jax.block_until_ready((self.pages, self.slots, more))

    def _run_idle(self) -> None:
        nothing = np.zeros(0, np.int32)
        greedy = SamplingParams(temperature=0.0)
        self.prefill(PrefillWork((PrefillSlice(0, np.zeros(1, np.int32), 0, True, nothing, 0, greedy),))).wait()
        for rows in self.decode_buckets:
            self.decode_in(rows, DecodeWork(nothing, nothing)).wait()
        self.swap_in(SwapInWork(0, nothing, 0, self.swap_out(SwapOutWork(0, nothing)).wait()))

    def _dispatch(self, name: str, packed: np.ndarray, bits: np.ndarray | None, rows: int) -> Handle:
        if self._counter:
            self._counter.watch()  # the engine's thread dispatches the steps
        given = put(packed, self.placement.replicated)
        token_mask = self._unruled[name] if bits is None else put(bits, self.placement.replicated)
        self.pages, self.slots, output = self.programs[name](self.params, self.pages, self.slots, given, token_mask)
        output.copy_to_host_async()
        self._keep_step()
        return Handle(output, self._outputs[name], rows)

    def _pack_prefill(self, bucket: int, slices: tuple[PrefillSlice, ...]) -> np.ndarray:
        sizes, rows = self.sizes, most_slices(bucket)
        ends = np.cumsum([0, *(len(part.tokens) for part in slices)], dtype=np.int32)
        bounds = np.full(rows + 1, ends[-1], np.int32)
        bounds[: len(ends)] = ends
        tables = np.zeros((rows, sizes.table), np.int32)
        for table, part in zip(tables, slices, strict=False):
            table[: len(part.pages)] = part.pages
        return self._inputs[prefill_name(bucket)].pack(
            slots=_fill(np.array([part.slot if part.last else sizes.slots for part in slices]), rows, sizes.slots),
            starts=_fill(np.array([part.start for part in slices]), rows, 0),
            constrained=_fill(np.array([part.token_mask is not None for part in slices]), rows, False),
            tokens=_fill(np.concatenate([part.tokens for part in slices]), bucket, 0),
            bounds=bounds,
            tables=tables,
            **self._pack_sampling(slices, rows),
        )

    def _pack_sampling(self, slices: tuple[PrefillSlice, ...], rows: int) -> dict[str, np.ndarray]:
        """Returns the sampling parameters of slices that are the last of their prompts, and zeros in other rows."""
        vocab = self.sizes.vocab
        arrays = {name: np.zeros((rows, *shape), dtype) for name, shape, dtype in SamplingState.packed_fields(vocab)}
        for row, part in enumerate(slices):
            if part.last:
                values = SamplingState.packed_values(part.sampling, part.choice, vocab, part.prompt)
                for name, value in values.items():
                    arrays[name][row] = value
        return arrays


def _fill(values: np.ndarray, size: int, rest: int) -> np.ndarray:
    filled = np.full((size, *values.shape[1:]), rest, values.dtype)
    filled[: len(values)] = values
    return filled
