"""Determines which programs and rows compute the same bits, by trying them on the real weights before serving.

Programs of different row counts may add numbers in different orders. Programs that compute the same bits form a class.
When the number of running sequences changes, another program may compute the next token of a sequence. If the two
programs are in one class, the sequence keeps its bits. Likewise, a prompt may be computed in steps of several sizes if
the programs for these sizes agree.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from jaxchat.arithmetic import cdiv
from jaxchat.config import BLOCK, most_slices
from jaxchat.runtime.runner import Runner
from jaxchat.types import (
    DecodeWork,
    PrefillSlice,
    PrefillWork,
    SamplingParams,
    StepResult,
    SwapInWork,
    SwapOutWork,
)

SEQUENCES, PROMPTS, STEPS = 8, 3, 4


def agreeing_decode_buckets(runner: Runner) -> tuple[int, ...]:
    """Returns the row counts in `runner.decode_buckets` whose programs agree bit for bit with the largest program.

    The result includes the row count of the largest program. Each program decodes the same random sequences, a few of
    them longer than a block of attention. Tokens and the f32 log-probabilities of 21 tokens per row must be equal.
    Leaves meaningless values in slots and pages, which are never read.
    """
    *smaller, full = runner.decode_buckets
    if not smaller:
        return (full,)
    trial = _Trial(runner, SEQUENCES, BLOCK + runner.sizes.chunk // 2, runner.sizes.chunk)
    expected = trial.decode(full)
    return *(rows for rows in smaller if trial.decode(rows) == expected), full


def agreeing_prefill_buckets(runner: Runner) -> tuple[int, ...]:
    """Returns the sizes in `runner.prefill_buckets` whose programs agree bit for bit with the smallest program.

    The result includes the smallest size, whose program computes random prompts, each alone. Each larger program
    computes the same prompts twice: each alone, and several in one step. After each of these runs a few tokens are
    decoded, because their log-probabilities depend on all keys and values. Leaves meaningless values in slots and
    pages, which are never read.
    """
    least, *larger = runner.prefill_buckets
    if not larger:
        return (least,)

    def bits(size: int, *, mixed: bool) -> list[bytes]:
        trial = _Trial(runner, PROMPTS, larger[-1] + least, size, mixed=mixed)
        return trial.decode(runner.decode_buckets[-1])

    expected = bits(least, mixed=False)
    return least, *(size for size in larger if all(bits(size, mixed=mixed) == expected for mixed in (False, True)))


def prompts_agree(runner: Runner) -> bool:
    """Returns whether prompts get the same bits alone and in steps that they share with other prompts.

    Uses the smallest prefill program. Leaves meaningless values in slots and pages, which are never read.
    """
    least, rows = runner.prefill_buckets[0], runner.decode_buckets[-1]
    alone, mixed = (_Trial(runner, PROMPTS, 2 * least, least, mixed=mixed).decode(rows) for mixed in (False, True))
    return alone == mixed


def rows_agree(runner: Runner) -> bool:
    """Returns whether sequences get the same bits in every slot and row of the largest decode program.

    Decodes copies of two random sequences at once, in every slot that the number of pages allows. The bits of copies
    differ on devices whose order of summation depends on a number's position in its array. Leaves meaningless values in
    slots and pages, which are never read.
    """
    sizes = runner.sizes
    return all(len(set(copies)) == 1 for copies in _Trial(runner, 2, sizes.chunk // 2, sizes.chunk).everywhere())


class _Trial:
    """Random sequences that were prefilled and swapped out to the host. Each program decodes the same copies."""

    def __init__(self, runner: Runner, count_limit: int, longest: int, bucket: int, *, mixed: bool = False) -> None:
        """Prefills the sequences and swaps them out.

        Args:
            runner: runs the programs.
            count_limit: largest number of sequences.
            longest: length in tokens of every fourth sequence, from the second on, or of the only sequence. Reduced if
                the engine's context is too short. The other sequences are at most as long as a chunk.
            bucket: size of the prefill steps in tokens.
            mixed: whether a step has slices of several sequences if they fit.
        """
        self._runner = runner
        sizes, rng = runner.sizes, np.random.default_rng(0)
        longest = min(longest, sizes.max_seq_len - STEPS - 1)
        per_sequence = cdiv(longest + STEPS, sizes.page_size)
        count = max(1, min(count_limit, sizes.slots, (sizes.pages - 1) // per_sequence))
        self._pages = np.arange(1, count * per_sequence + 1, dtype=np.int32).reshape(count, per_sequence)
        self._first = [b""] * count  # bits of each prompt's first token
        size = max(bucket // 2 // sizes.page_size, 1) * sizes.page_size if mixed else bucket
        slices: list[list[PrefillSlice]] = []  # of each sequence
        for slot, pages in enumerate(self._pages):
            single = count == 1
            length = longest if slot % 4 == 1 or single else int(rng.integers(1, min(sizes.chunk, longest) + 1))
            tokens = rng.integers(0, sizes.vocab, length).astype(np.int32)
            sampling = SamplingParams(logprobs=True, seed=slot, temperature=slot % 2, frequency_penalty=0.1 * slot)
            cuts = range(0, length, size)
            slices.append(
                [PrefillSlice(slot, tokens[i : i + size], i, i + size >= length, pages, 0, sampling) for i in cuts]
            )
        for step in _interleaved(slices, bucket) if mixed else ((part,) for each in slices for part in each):
            result = runner.prefill_in(bucket, PrefillWork(step)).wait()
            for row, part in enumerate(step):
                if part.last:
                    self._first[part.slot] = _bits(result, row)
        self._swapped = [runner.swap_out(SwapOutWork(slot, pages)).wait() for slot, pages in enumerate(self._pages)]

    def everywhere(self) -> list[list[bytes]]:
        """Decodes copies of the sequences in many slots at once. Returns the bits of each copy, by sequence.

        Every slot has a copy, provided that there are enough pages. Copies of different sequences alternate.
        """
        sizes, count = self._runner.sizes, len(self._swapped)
        per_sequence = self._pages.shape[1]
        rows = min(sizes.slots, (sizes.pages - 1) // per_sequence)
        pages = np.arange(1, rows * per_sequence + 1, dtype=np.int32).reshape(rows, per_sequence)
        for slot in range(rows):
            self._runner.swap_in(SwapInWork(slot, pages[slot], 0, self._swapped[slot % count]))
        work = DecodeWork(np.arange(rows, dtype=np.int32), np.full(rows, -1, np.int32))
        steps = [self._runner.decode_in(self._runner.decode_buckets[-1], work).wait() for _ in range(STEPS)]
        bits = [b"".join(_bits(step, row) for step in steps) for row in range(rows)]
        return [bits[first::count] for first in range(count)]

    def decode(self, rows: int) -> list[bytes]:
        """Returns the bits of each prompt's first token, then, sequence by sequence, the bits of each decode step.

        The program of `rows` rows decodes `rows` sequences at a time.
        """
        bits = list(self._first)
        for first in range(0, len(self._swapped), rows):
            group = range(first, min(first + rows, len(self._swapped)))
            for slot in group:
                pages = self._pages[slot]
                self._runner.swap_in(SwapInWork(slot, pages, 0, self._swapped[slot]))
            work = DecodeWork(np.array(group, np.int32), np.full(len(group), -1, np.int32))
            steps = [self._runner.decode_in(rows, work).wait() for _ in range(STEPS)]
            bits += [_bits(step, row) for row in range(len(group)) for step in steps]
        return bits


def _interleaved(slices: list[list[PrefillSlice]], bucket: int) -> Iterator[tuple[PrefillSlice, ...]]:
    """Divides the slices of several sequences into steps of at most `bucket` tokens.

    Each step takes the next slice of every sequence, as far as the slices fit. A different sequence comes first in each
    step.
    """
    queues = deque(deque(each) for each in slices)
    while any(queues):
        room = bucket
        step: list[PrefillSlice] = []
        for queue in queues:
            if queue and len(queue[0].tokens) <= room and len(step) < most_slices(bucket):
                step.append(queue.popleft())
                room -= len(step[-1].tokens)
        queues.rotate(1)
        yield tuple(step)


def _bits(step: StepResult, row: int) -> bytes:
    return b"".join(array[row].tobytes() for array in vars(step).values())
