"""Prometheus metrics in a separate registry. Names and meanings are vLLM's, with the prefix `jaxchat:`.

The server chooses all label values. They are few, and none is a user, a key or a prompt.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jaxchat.chat.context import Record
from serving.backend import Session

_FIRST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0)
_GAP = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_WHOLE = (0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 120.0, 240.0, 480.0)


class Metrics:
    """An observer that counts requests and tokens. `page` returns these counts and the load of `session`."""

    def __init__(self, session: Session):
        self._model = session.model_id
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Gauges(session))
        self._first = self._histogram("time_to_first_token_seconds", "From acceptance to the first token.", _FIRST)
        self._gap = self._histogram("inter_token_latency_seconds", "Between two tokens of a choice.", _GAP)
        self._whole = self._histogram(
            "e2e_request_latency_seconds", "From acceptance to the end of the request.", _WHOLE
        )
        self._prompt = self._counter("prompt_tokens", "Tokens of prompts that were computed or taken from the cache.")
        self._generated = self._counter("generation_tokens", "Tokens that were generated.")
        self._success = self._labelled("request_success", "Finished choices of completed requests.", "finished_reason")
        self._outcomes = self._labelled("request_outcomes", "Requests that ended.", "outcome", "error")
        for outcome in ("completed", "cancelled"):  # their error label is known, so they can start at 0
            self._outcomes.labels(self._model, outcome, "")

    def tokens(self, record: Record, count: int, gap: float | None) -> None:
        """Counts new tokens of a choice. Must be quick, because it runs on the asyncio loop for every token."""
        self._generated.inc(count)
        if gap is not None:
            self._gap.observe(gap)
        elif record.completion_tokens == count and record.first_token is not None:
            self._first.observe(record.first_token)
            self._prompt.inc(record.prompt_tokens)

    def finished(self, record: Record) -> None:
        self._outcomes.labels(self._model, record.outcome, record.error).inc()
        if record.outcome == "completed":
            self._whole.observe(record.seconds)
            for reason in record.finish_reasons:
                self._success.labels(self._model, reason).inc()

    def page(self) -> bytes:
        """Returns all metrics in Prometheus's text format 0.0.4. Later formats would replace the colon in the names."""
        return generate_latest(self._registry)

    def _labelled(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"jaxchat:{name}", text, ("model_name", *labels), registry=self._registry)

    def _counter(self, name: str, text: str) -> Counter:
        return self._labelled(name, text).labels(self._model)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        histogram = Histogram(f"jaxchat:{name}", text, ("model_name",), buckets=buckets, registry=self._registry)
        return histogram.labels(self._model)


class _Gauges(Collector):
    """A collector that reads the engine's load at each scrape."""

    def __init__(self, session: Session):
        self._session = session

    def collect(self) -> Iterator[Metric]:
        load, model = self._session.stats, self._session.model_id
        for name, text, value in (
            ("num_requests_running", "Sequences that hold a slot.", load.running),
            ("num_requests_waiting", "Sequences that wait for a slot.", load.waiting),
            ("kv_cache_usage_perc", "KV pages in use, from 0 to 1.", load.pages_in_use / max(load.pages, 1)),
        ):
            gauge = GaugeMetricFamily(f"jaxchat:{name}", text, labels=("model_name",))
            gauge.add_metric((model,), value)
            yield gauge
        for name, text, value in (
            ("num_preemptions", "Sequences swapped out to host memory when pages were short.", load.preemptions),
            ("spec_decode_num_draft_tokens", "Guessed tokens that were checked.", load.drafts),
            ("spec_decode_num_accepted_tokens", "Guessed tokens that were right.", load.accepted_drafts),
            (
                "compiles_after_ready",
                "Programs compiled while serving; above 0 is a bug.",
                self._session.compiles_after_ready,
            ),
        ):
            counter = CounterMetricFamily(f"jaxchat:{name}", text, labels=("model_name",))
            counter.add_metric((model,), value)
            yield counter
