"""A device that computes nothing: it checks every step against the rules and answers with predictable tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jaxchat.types import DecodeWork, PrefillWork, StepResult


@dataclass
class Done:
    result: StepResult

    def wait(self) -> StepResult:
        return self.result


class FakeRunner:
    """The n-th token of a choice is `first + n`, where `first` is the last prompt token plus 1000 times the choice."""

    def __init__(self, slots: int) -> None:
        self.next = np.zeros(slots, np.int32)
        self.prefills: list[PrefillWork] = []
        self.decodes: list[DecodeWork] = []
        self.fail_at: int | None = None

    def prefill(self, work: PrefillWork) -> Done:
        self.prefills.append(work)
        if work.last:
            self.next[work.slot] = work.tokens[-1] + 1000 * work.choice + 1
        return Done(result(np.array([work.tokens[-1] + 1000 * work.choice], np.int32)))

    def decode(self, work: DecodeWork) -> Done:
        if self.fail_at == len(self.decodes):
            raise RuntimeError("device lost")
        self.decodes.append(work)
        tokens = self.next.copy()
        self.next += work.active
        return Done(result(tokens))


def result(tokens: np.ndarray) -> StepResult:
    rows = len(tokens)
    return StepResult(
        tokens=tokens,
        finite=np.ones(rows, bool),
        logprobs=np.zeros(rows, np.float32),
        top_ids=np.zeros((rows, 2), np.int32),
        top_logprobs=np.zeros((rows, 2), np.float32),
    )
