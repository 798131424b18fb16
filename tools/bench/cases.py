"""The cases to measure: one prompt, streams that decode together, and a mix of requests that arrive at random.

prefill-512   one prompt of 512 tokens on an idle server, to its first token
decode-8      8 streams after short prompts
mix-0.5       0.5 requests a second on average, independent of each other; one in four has a long prompt
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

import numpy as np

from tools.bench.text import prompt_tokens
from tools.bench.workers.line import Request, Times

SHORT, LONG = 32, 512  # tokens of a prompt
ANSWER = 32  # tokens of an answer in the mix
ARRIVALS = 24  # requests of a mix
CONTEXT = 1024
Figures = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A load of one kind.

    Attributes:
        kind: "prefill", "decode" or "mix".
        size: prompt tokens (prefill), streams (decode), or mean requests per second (mix).
    """

    kind: str
    size: float

    @staticmethod
    def parse(name: str) -> Case:
        """Parses a name such as `decode-8`. Raises ValueError if the kind is unknown or the size is not allowed."""
        kind, _, size = name.partition("-")
        if kind not in ("prefill", "decode", "mix"):
            raise ValueError(f"case {name!r}: the kinds are prefill, decode and mix")
        try:
            case = Case(kind=kind, size=float(size) if kind == "mix" else int(size))
        except ValueError:
            raise ValueError(f"case {name!r}: {size!r} is not a number") from None
        most = {"prefill": CONTEXT - 1, "decode": 256, "mix": 1000.0}[kind]
        if not 0 < case.size <= most:
            raise ValueError(f"case {name!r}: the number must be above 0 and at most {most}")
        return case

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.size:g}"

    @property
    def streams(self) -> int:
        """Number of requests that arrive at once."""
        return int(self.size) if self.kind == "decode" else 1

    @property
    def runs(self) -> int:
        """Number of runs of one measurement. The result of the measurement is the median of the runs."""
        return 3 if self.kind == "prefill" else 1

    def requests(self, seed: int, vocab: int) -> list[Request]:
        """Returns the requests of the case. Prompts have no common prefix.

        Args:
            seed: seed of the prompts and of the times of arrival.
            vocab: size of the vocabulary.
        """
        rng = Random(f"{self.name} {seed}")

        def ask(at: float, prompt: int, tokens: int) -> Request:
            return Request(at=at, prompt=prompt_tokens(rng, prompt, vocab), tokens=tokens)

        if self.kind == "prefill":
            return [ask(0.0, int(self.size), 1)]
        if self.kind == "decode":
            # A server that takes in one prompt at a time still has many tokens to go when the last one is in.
            return [ask(0.0, SHORT, 48 + 3 * self.streams // 2) for _ in range(self.streams)]
        moments = np.cumsum([rng.expovariate(self.size) for _ in range(ARRIVALS)])
        return [ask(float(at), rng.choice((SHORT, SHORT, SHORT, LONG)), ANSWER) for at in moments]

    def warm_up(self, vocab: int) -> list[Request]:
        """Returns the first requests of the case, all at once and with answers of at most 4 tokens.

        Args:
            vocab: size of the vocabulary.
        """
        first = self.requests(-1, vocab)[: max(self.streams, 2)]
        return [replace(request, at=0.0, tokens=min(request.tokens, 4)) for request in first]

    def figures(self, requests: list[Request], times: Times) -> Figures:
        """Returns the figures of one run.

        Rates are in tokens per second. Prefill has "rate". Decoding has "rate", the steady rate, and "overall", from
        the beginning of the run to the last token. A mix has "overall" and percentiles in seconds: "first_p50",
        "first_p95" and "first_p99" to the first token, and "gap_p50", "gap_p95" and "gap_p99" between tokens.

        Args:
            requests: the requests of the run.
            times: for each request, the seconds from the beginning of the run at which its tokens arrived.
        """
        first = [arrivals[0] - request.at for request, arrivals in zip(requests, times, strict=True)]
        if self.kind == "prefill":
            return {"rate": len(requests[0].prompt) / first[0]}
        overall = sum(map(len, times)) / max(arrivals[-1] for arrivals in times)
        if self.kind == "decode":
            return {"rate": steady_rate(times), "overall": overall}
        gaps = np.concatenate([np.diff(arrivals) for arrivals in times])
        return {"overall": overall} | _percentiles("first", np.array(first)) | _percentiles("gap", gaps)


def steady_rate(times: Times) -> float:
    """Returns the tokens per second in the longest span in which the largest number of streams decode at once.

    Args:
        times: for each stream, the seconds at which its tokens arrived, in ascending order.
    """
    changes = sorted([(arrivals[0], 1) for arrivals in times] + [(arrivals[-1], -1) for arrivals in times])
    active, most, window = 0, 0, (0.0, 0.0)
    for (moment, change), (until, _) in pairwise(changes):
        active += change
        if active > most or (active == most and until - moment > window[1] - window[0]):
            most, window = active, (moment, until)
    tokens = sum(window[0] < moment <= window[1] for arrivals in times for moment in arrivals)
    return tokens / (window[1] - window[0])


def median_figures(repetitions: list[Figures]) -> Figures:
    """Returns the median of each figure over the repetitions."""
    return {name: statistics.median(figures[name] for figures in repetitions) for name in repetitions[0]}


def _percentiles(name: str, values: np.ndarray) -> Figures:
    return {f"{name}_p{q}": float(np.percentile(values, q)) for q in (50, 95, 99)}
