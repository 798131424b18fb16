"""Which prompts share a prefill step, and that sharing loses, starves and mixes up none."""

from __future__ import annotations

from collections import deque

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jaxchat.config import most_slices
from jaxchat.engine.scheduler import Scheduler, Step
from jaxchat.engine.sequence import Sequence
from jaxchat.types import GenerateRequest, Outcome, PrefillSlice, PrefillWork, SwapInWork, SwapOutWork
from tests.engine.fake import PAGE, FakeRunner

BUCKETS = (32, 64, 256)


def make(slots: int = 8, pages: int = 200, buckets: tuple[int, ...] = BUCKETS) -> Scheduler:
    return Scheduler(slots=slots, prefill_buckets=buckets, page_size=PAGE, pages=pages)


def add(scheduler: Scheduler, *lengths: int, first: int = 1, tokens: int = 20) -> None:
    """Queues requests with ids from `first` on, whose prompts have nothing in common."""
    for number, length in enumerate(lengths, first):
        prompt = np.full(length, number, np.int32)
        scheduler.add(Sequence(number, 0, GenerateRequest(prompt=prompt, max_tokens=tokens)))


def prefills(scheduler: Scheduler, count: int) -> list[list[tuple[int, int, bool]]]:
    """Returns prompt, number of tokens and whether the prompt ends, for each part of the next `count` steps."""
    return [[_told(part) for part in _prefill(scheduler.schedule()).slices] for _ in range(count)]


def _told(part: PrefillSlice) -> tuple[int, int, bool]:
    return int(part.tokens[0]), len(part.tokens), part.last


def _prefill(step: Step | None) -> PrefillWork:
    assert step and isinstance(step.work, PrefillWork)
    return step.work


def test_short_prompts_share_a_step_in_order_of_arrival() -> None:
    scheduler = make()
    add(scheduler, 20, 7, 30, 1, 9)
    assert prefills(scheduler, 1) == [[(1, 20, True), (2, 7, True), (3, 30, True), (4, 1, True)]]
    assert scheduler.running == 5 and scheduler.waiting == 0  # the fifth is next


def test_a_step_has_only_as_many_chunks_as_its_program() -> None:
    scheduler = make(slots=32)
    add(scheduler, *[1] * 20, tokens=1)
    assert [len(slices) for slices in prefills(scheduler, 5)] == [4] * 5


def test_one_long_prompt_takes_whole_steps() -> None:
    scheduler = make()
    add(scheduler, 300)
    assert prefills(scheduler, 2) == [[(1, 256, False)], [(1, 44, True)]]


def test_a_long_prompt_gets_at_least_half_of_each_step_and_short_ones_pass_it() -> None:
    scheduler = make()
    add(scheduler, 500, 400, 30, 90, 20, tokens=1)
    first, second, third = prefills(scheduler, 3)
    assert first == [(3, 30, True), (4, 90, True), (1, 128, False)]
    assert second == [(5, 20, True), (1, 224, False)]
    assert third == [(1, 148, True), (2, 96, False)]


def test_nobody_passes_a_prompt_that_waits_for_pages() -> None:
    scheduler = make(pages=40)
    add(scheduler, 300, 500, 10)
    assert prefills(scheduler, 1) == [[(3, 10, True), (1, 240, False)]]  # while the first is computed
    scheduler = make(pages=40)
    add(scheduler, 30, 620, 10)
    assert prefills(scheduler, 1) == [[(1, 30, True)]]
    assert scheduler.waiting == 2


def test_choices_share_chunks_that_their_step_computes() -> None:
    scheduler = make()
    request = GenerateRequest(prompt=np.arange(100, dtype=np.int32), max_tokens=5, choices=5)
    for choice in range(5):
        scheduler.add(Sequence(1, choice, request))
    first, second = (_prefill(scheduler.schedule()).slices for _ in range(2))
    assert [(part.start, len(part.tokens)) for part in first] == [(0, 64)]
    assert [(part.start, len(part.tokens)) for part in second] == [(64, 36), *[(96, 4)] * 4]
    assert len({tuple(part.pages[:6]) for part in second}) == 1
    assert len({part.pages[6] for part in second}) == 5


def test_prompts_that_arrive_together_start_before_the_first_of_them_goes_on_alone() -> None:
    scheduler = make(slots=32, pages=400)
    add(scheduler, *[32] * 32)
    assert [_tokens(scheduler) for _ in range(8)] == [256, 0] * 4


def test_what_runs_already_waits_for_two_chunks_at_most() -> None:
    scheduler = make(slots=16, pages=400)
    add(scheduler, *[10] * 8)
    while _tokens(scheduler) or scheduler.waiting:
        pass
    add(scheduler, *[60] * 4, first=20)
    assert [_tokens(scheduler) for _ in range(4)] == [60, 0, 60, 0]


def _tokens(scheduler: Scheduler) -> int:
    """Returns the prompt tokens of the next step, 0 for a decode step."""
    step = scheduler.schedule()
    assert step
    return step.work.tokens if isinstance(step.work, PrefillWork) else 0


def _run(runner: FakeRunner, step: Step) -> Outcome:
    match step.work:
        case PrefillWork() as work:
            return runner.prefill(work).wait()
        case SwapOutWork() as work:
            return runner.swap_out(work).wait()
        case SwapInWork() as work:
            return runner.swap_in(work).wait()
        case work:
            return runner.decode(work).wait()


prompts = st.tuples(
    st.integers(0, 3), st.integers(1, 300), st.integers(1, 12), st.integers(1, 3), st.booleans(), st.integers(0, 4)
)  # start of the prompt, its length, answer tokens, choices, whether it is cancelled, steps before the next one


@given(
    requests=st.lists(prompts, min_size=1, max_size=20), slots=st.integers(1, 6), pages=st.integers(24, 90),
    buckets=st.sampled_from([(16,), (32,), (32, 64, 256)]),
)  # fmt: skip
def test_every_prompt_is_computed_once_and_answered(
    requests: list[tuple[int, int, int, int, bool, int]], slots: int, pages: int, buckets: tuple[int, ...]
) -> None:
    scheduler, runner = make(slots, pages, buckets), FakeRunner(slots, pages)
    in_flight: deque[tuple[Step, Outcome]] = deque()
    answers: dict[tuple[int, int], list[int]] = {}

    def step(allowed: int) -> bool:
        following = scheduler.schedule()
        if following:
            if isinstance(following.work, PrefillWork):
                _check(following.work, buckets)
            in_flight.append((following, _run(runner, following)))
        while len(in_flight) > (allowed if following else 0):
            for event in scheduler.process_output(*in_flight.popleft()):
                answers.setdefault((event.request, event.choice), []).append(event.token)
        return following is not None

    expected: dict[tuple[int, int], list[int]] = {}
    for number, (begin, length, tokens, choices, cancelled, steps) in enumerate(requests):
        prompt = np.arange(begin, begin + length, dtype=np.int32)
        request = GenerateRequest(prompt=prompt, max_tokens=tokens, choices=choices)
        for choice in range(choices):
            scheduler.add(Sequence(number, choice, request))
            first = int(prompt[-1]) + 1000 * choice
            expected[number, choice] = [first + n for n in range(tokens)]
        for _ in range(steps):
            step(1)
        if cancelled:
            scheduler.cancel(number)
    while step(1) or scheduler.waiting or scheduler.running:
        pass
    for (number, choice), tokens in expected.items():
        answer = answers.get((number, choice), [])
        assert answer == tokens or (requests[number][4] and answer == tokens[: len(answer)])
    assert (scheduler.running, scheduler.waiting, scheduler.pool.in_use) == (0, 0, 0)
    scheduler.pool.clear()
    assert sorted(scheduler.pool._free) == list(range(1, pages))


def _check(work: PrefillWork, buckets: tuple[int, ...]) -> None:
    """A program holds the step, and only its last part may be a part of a prompt; that one ends with a page."""
    assert any(work.tokens <= size and len(work.slices) <= most_slices(size) for size in buckets)
    assert len({part.slot for part in work.slices}) == len(work.slices)
    assert all(part.last for part in work.slices[:-1])
    assert work.slices[-1].last or len(work.slices[-1].tokens) % PAGE == 0
