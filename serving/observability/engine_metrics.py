"""The part of the metrics page that is read from the engines at each scrape. Engine steps spend no time on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from math import inf

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from serving.backend import Load, Session


class EngineMetrics(Collector):
    """A collector that reads the loads, the totals and the sizes of engines, one for each model.

    Args:
        sessions: the sessions that own the engines.
        prefix: the part of metric names before the colon.
    """

    def __init__(self, sessions: Sequence[Session], prefix: str) -> None:
        self._sessions, self._prefix = sessions, prefix
        self._versions = {"version": _version("jaxchat"), "jax": _version("jax")}

    def collect(self) -> Iterator[Metric]:
        """Yields each metric once, with a sample for each model, as Prometheus's text format requires."""
        for first, *others in zip(*map(self._of, self._sessions), strict=True):
            for other in others:
                first.samples += other.samples
            yield first

    def _of(self, session: Session) -> Iterator[Metric]:
        load, model = session.stats, session.model_id
        yield from self._gauges(model, load)
        yield from self._counters(model, load, session.compiles_after_ready)
        yield self._step_tokens(model, load)
        info = session.info
        sizes = {"block_size": str(info.block_size), "num_gpu_blocks": str(info.blocks)}
        text = "Chunks of the prefix cache: tokens of one, and how many fit."
        yield self._constant("cache_config_info", text, model, sizes)
        build = {**self._versions, "backend": info.backend, "fingerprint": info.fingerprint}
        yield self._constant("build_info", "Versions, the platform of jax, and system_fingerprint.", model, build)

    def _gauges(self, model: str, load: Load) -> Iterator[Metric]:
        for name, text, value in (
            ("num_requests_running", "Sequences that hold a slot.", load.running),
            ("num_requests_waiting", "Sequences that wait for a slot.", load.waiting),
            ("kv_cache_usage_perc", "KV pages in use, from 0 to 1.", load.pages_in_use / max(load.pages, 1)),
        ):
            gauge = GaugeMetricFamily(self._name(name), text, labels=("model_name",))
            gauge.add_metric((model,), value)
            yield gauge

    def _counters(self, model: str, load: Load, compiles: int) -> Iterator[Metric]:
        for name, text, value in (
            ("num_preemptions", "Sequences swapped out to host memory when pages were short.", load.preemptions),
            ("prefix_cache_queries", "Prompt tokens looked up in the prefix cache.", load.prefix_queries),
            ("prefix_cache_hits", "Prompt tokens that the prefix cache had.", load.prefix_hits),
            ("spec_decode_num_draft_tokens", "Guessed tokens that were checked.", load.drafts),
            ("spec_decode_num_accepted_tokens", "Guessed tokens that were right.", load.accepted_drafts),
            ("compiles_after_ready", "Programs compiled while serving; above 0 is a bug.", compiles),
        ):
            counter = CounterMetricFamily(self._name(name), text, labels=("model_name",))
            counter.add_metric((model,), value)
            yield counter

    def _step_tokens(self, model: str, load: Load) -> Metric:
        text = "Prompt tokens of a prefill step, or rows of a decode step."
        bounds = sorted(load.step_tokens.items())
        sums = accumulate(count for _, count in bounds)
        buckets = [(floatToGoString(bound), total) for (bound, _), total in zip(bounds, sums, strict=True)]
        histogram = HistogramMetricFamily(self._name("iteration_tokens_total"), text, labels=("model_name",))
        histogram.add_metric((model,), buckets or [(floatToGoString(inf), 0)], load.tokens)
        return histogram

    def _constant(self, name: str, text: str, model: str, labels: dict[str, str]) -> Metric:
        """Returns a gauge that is always 1. Its labels are `labels` and the model's name."""
        gauge = GaugeMetricFamily(self._name(name), text, labels=("model_name", *labels))
        gauge.add_metric((model, *labels.values()), 1)
        return gauge

    def _name(self, name: str) -> str:
        return f"{self._prefix}:{name}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
