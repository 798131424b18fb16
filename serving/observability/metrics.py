"""Prometheus metrics in a separate registry. Names and meanings are vLLM's, with the prefix `jaxchat:` by default.

The server chooses all label values. They are few, and none is a user, a key or a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from jaxchat.chat.context import Record
from serving.backend import Session
from serving.observability.engine_metrics import EngineMetrics

_FIRST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0)
_GAP = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_WHOLE = (0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 120.0, 240.0, 480.0)


class Metrics:
    """An observer that counts requests and tokens of each model. `page` returns these counts and the engines' metrics.

    A request that does not name a model of the server is counted for the first model.

    Args:
        sessions: the sessions that answer the requests, one for each model.
        prefix: the part of metric names before the colon. With "vllm", dashboards for vLLM show this server.
    """

    def __init__(self, sessions: Sequence[Session], prefix: str = "jaxchat"):
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(EngineMetrics(sessions, prefix))
        families = _Families(self._registry, prefix, max(session.info.context for session in sessions))
        self._models = {session.model_id: _ModelMetrics(families, session.model_id) for session in sessions}
        self._default = self._models[sessions[0].model_id]

    def tokens(self, record: Record, count: int, gap: float | None) -> None:
        """Counts new tokens of a choice. Must be quick, because it runs on the asyncio loop for every token."""
        self._models.get(record.model, self._default).tokens(record, count, gap)

    def finished(self, record: Record) -> None:
        self._models.get(record.model, self._default).finished(record)

    def page(self) -> bytes:
        """Returns all metrics in Prometheus's text format 0.0.4. Later formats would replace the colon in the names."""
        return generate_latest(self._registry)


class _Families:
    """The metrics of a page, each with the label `model_name`.

    Args:
        registry: collects the metrics.
        prefix: the part of metric names before the colon.
        longest: maximum number of tokens of a prompt or an answer, for the bounds of histograms.
    """

    def __init__(self, registry: CollectorRegistry, prefix: str, longest: int) -> None:
        self._registry, self._prefix = registry, prefix
        histogram, counter = self._histogram, self._counter
        self.first = histogram("time_to_first_token_seconds", "From acceptance to the first token.", _FIRST)
        self.gap = histogram("inter_token_latency_seconds", "Between two tokens of a choice.", _GAP)
        self.whole = histogram("e2e_request_latency_seconds", "From acceptance to the end of the request.", _WHOLE)
        self.queue = histogram("request_queue_time_seconds", "Until the request has a slot.", _FIRST)
        self.prefill = histogram("request_prefill_time_seconds", "From the slot to the first token.", _FIRST)
        self.decode = histogram("request_decode_time_seconds", "From the first token to the last.", _WHOLE)
        self.inference = histogram("request_inference_time_seconds", "From the slot to the last token.", _WHOLE)
        sizes = token_buckets(longest)
        self.prompt_size = histogram("request_prompt_tokens", "Tokens of a request's prompt.", sizes)
        self.answer_size = histogram("request_generation_tokens", "Tokens of all choices of a request.", sizes)
        self.prompt = counter("prompt_tokens", "Tokens of prompts that were computed or taken from the cache.")
        self.generated = counter("generation_tokens", "Tokens that were generated.")
        self.success = counter("request_success", "Finished choices of completed requests.", "finished_reason")
        self.outcomes = counter("request_outcomes", "Requests that ended.", "outcome", "error")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{self._prefix}:{name}", text, ("model_name", *labels), registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        full_name = f"{self._prefix}:{name}"
        return Histogram(full_name, text, ("model_name",), buckets=buckets, registry=self._registry)


class _ModelMetrics:
    """The metrics of one model."""

    def __init__(self, families: _Families, model: str) -> None:
        self._model, self._success, self._outcomes = model, families.success, families.outcomes
        self._first, self._gap = families.first.labels(model), families.gap.labels(model)
        self._whole = families.whole.labels(model)
        self._queue, self._prefill = families.queue.labels(model), families.prefill.labels(model)
        self._decode, self._inference = families.decode.labels(model), families.inference.labels(model)
        self._prompt_size, self._answer_size = families.prompt_size.labels(model), families.answer_size.labels(model)
        self._prompt, self._generated = families.prompt.labels(model), families.generated.labels(model)
        for outcome in ("completed", "cancelled"):  # their error label is known, so they can start at 0
            self._outcomes.labels(model, outcome, "")

    def tokens(self, record: Record, count: int, gap: float | None) -> None:
        self._generated.inc(count)
        if gap is not None:
            self._gap.observe(gap)
        elif record.completion_tokens == count and record.first_token is not None:
            self._first.observe(record.first_token)
            self._prompt.inc(record.prompt_tokens)

    def finished(self, record: Record) -> None:
        self._outcomes.labels(self._model, record.outcome, record.error).inc()
        if record.first_token is None:  # otherwise its prompts are counted
            self._prompt.inc(record.scored_tokens)
        if record.outcome == "completed":
            self._whole.observe(record.seconds)
            self._prompt_size.observe(record.prompt_tokens)
            self._answer_size.observe(record.completion_tokens)
            self._observe_phases(record)
            for reason in record.finish_reasons:
                self._success.labels(self._model, reason).inc()

    def _observe_phases(self, record: Record) -> None:
        """Adds to histograms how long a completed request waited, and how long its prefill and decode steps took."""
        queued, admitted, first, last = record.queued, record.admitted, record.first_token, record.last_token
        if queued is None or admitted is None or first is None or last is None:
            return
        self._queue.observe(max(admitted - queued, 0.0))
        self._prefill.observe(max(first - admitted, 0.0))
        self._decode.observe(last - first)
        self._inference.observe(max(last - admitted, 0.0))


def token_buckets(most: int) -> tuple[float, ...]:
    """Returns 1, 2, 5, 10, 20, 50, ... up to `most`, as bounds of a histogram of tokens."""
    steps = (digit * 10.0**power for power in range(12) for digit in (1, 2, 5))
    return tuple(takewhile(lambda bound: bound <= most, steps)) or (1.0,)
