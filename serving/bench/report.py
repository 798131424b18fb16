"""Writes the figures of loads as Markdown tables and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from serving.bench.figures import LoadFigures

_LOADS = ("load", "answers", "failed", "requests/s", "prompt tokens", "output tokens", "output tokens/s")
_LATENCIES = ("load", "ms", "mean", "p50", "p90", "p95", "p99")
_NAMES = {
    "first_token": "time to first token",
    "per_token": "time per output token",
    "inter_token": "inter-token latency",
    "whole": "end to end",
}


def markdown(results: Sequence[LoadFigures]) -> str:
    """Returns a table of loads, a table of latencies, and notes on errors and on the load generator."""
    loads, latencies, notes = [], [], []
    for figures in results:
        label = load_label(figures)
        loads.append(_load_row(label, figures))
        for name, text in _NAMES.items():
            spread = asdict(figures)[name]
            latencies.append([label, text, *(_milliseconds(value) for value in spread.values())])
        notes += _notes(label, figures)
    return "\n\n".join(["\n".join(_table(_LOADS, loads)), "\n".join(_table(_LATENCIES, latencies)), *notes])


def load_label(figures: LoadFigures) -> str:
    return f"{figures.load:g}/s" if figures.kind == "rate" else f"{figures.load:g} at a time"


def write_json(path: Path, facts: dict[str, Any], results: Sequence[LoadFigures]) -> None:
    """Writes facts and figures. Durations are in seconds, and figures without a value are null."""
    value = facts | {"loads": [asdict(figures) for figures in results]}
    path.write_text(json.dumps(_without_nan(value), indent=1, allow_nan=False) + "\n", "utf-8")


def _load_row(label: str, figures: LoadFigures) -> list[str]:
    return [
        label,
        str(figures.requests),
        str(sum(figures.errors.values())),
        f"{figures.request_rate:.2f}",
        _count(figures.prompt_tokens),
        _count(figures.output_tokens),
        f"{figures.output_rate:.1f}",
    ]


def _notes(label: str, figures: LoadFigures) -> list[str]:
    notes = [f"{label}: {count} failed: {error}" for error, count in figures.errors.items()]
    generator = figures.generator
    if generator.bottleneck:
        late, delay = generator.late, generator.delay
        notes.append(
            f"{label}: this generator did not keep up, so the latencies are partly its own. It sent requests late by "
            f"{_milliseconds(late.p99)} ms (p99), noted arrivals late by {_milliseconds(delay.p50)} ms (p50) and "
            f"{_milliseconds(delay.p90)} ms (p90), and used {100 * generator.busy:.0f} % of a processor."
        )
    return notes


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]


def _count(mean: float) -> str:
    return "" if math.isnan(mean) else f"{mean:.0f}"


def _milliseconds(seconds: float) -> str:
    return "" if math.isnan(seconds) else f"{1000 * seconds:.1f}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
