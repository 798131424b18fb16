"""Formats results as JSON and Markdown, and writes them into a document."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tools.bench.cases import Case, Figures, median_figures
from tools.bench.measure import Record

Medians = dict[tuple[str, str], Figures]
"""Figures by label and case."""


def medians(records: list[Record]) -> Medians:
    """Returns the median figures of each label and case over its repetitions."""
    results: dict[tuple[str, str], list[Figures]] = {}
    for record in records:
        results.setdefault((record.label, record.case), []).append(record.figures)
    return {key: median_figures(figures) for key, figures in results.items()}


def as_json(records: list[Record], failures: dict[str, str], about: dict[str, Any]) -> str:
    """Returns all records as JSON, with the machine, the failures by label, and the settings `about`."""
    machine = {"processor": _processor(), "system": platform.platform(), "python": platform.python_version()}
    report = {"about": about, "machine": machine, "failures": failures, "records": [asdict(r) for r in records]}
    return json.dumps(report, indent=1)


def markdown(records: list[Record], command: str) -> str:
    """Returns Markdown tables: rates, jaxchat's best rates relative to other peers, and latencies.

    Adds the machine and the versions.

    Args:
        records: the results.
        command: the command line that measured them, which is shown above the tables.
    """
    results = medians(records)
    cases = list(dict.fromkeys(record.case for record in records))
    steady = [case for case in cases if Case.parse(case).kind != "mix"]
    mixes = [case for case in cases if case not in steady]
    parts = [f"```\n{command}\n```"]
    if steady:
        decodes = [case for case in steady if case.startswith("decode")]
        shown = any("roofline" in figures for figures in results.values())
        share = "; beside it, the share of what the probes allow" if shown else ""
        parts += [f"Tokens per second{share}.", _rates(results, steady)]
        parts += ["jaxchat's best as a multiple of each peer.", _ratios(results, steady)] if _peers(results) else []
        parts += ["Tokens per second with the prompts counted in.", _overall(results, decodes)] if decodes else []
    if mixes:
        parts += ["Milliseconds under a load that arrives at random, at the 50th, 95th and 99th percentile."]
        parts += [_latencies(results, mixes)]
    return "\n\n".join([*parts, _conditions(records)])


def put(document: Path, name: str, text: str) -> None:
    """Replaces the text between the markers of a document. Appends markers and text if the document has no markers.

    Raises ValueError if the document has only the first marker.

    Args:
        document: the document.
        name: name in the markers, `<!-- name: begin -->` and `<!-- name: end -->`.
        text: the new text.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, marker, remainder = document.read_text("utf-8").partition(begin)
    if marker and end not in remainder:
        raise ValueError(f"{document}: {begin} without {end}")
    after = remainder.partition(end)[2] if marker else "\n"
    gap = "" if marker else "\n"
    document.write_text(f"{before}{gap}{begin}\n{text}\n{end}{after}", "utf-8")


def labels(results: Medians) -> list[str]:
    """Returns the labels in the order of the results."""
    return list(dict.fromkeys(label for label, _ in results))


def _peers(results: Medians) -> list[str]:
    return [label for label in labels(results) if not label.startswith("jaxchat")]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(
    results: Medians, rows: list[str], cases: list[str], cell: Callable[[str, str, Figures], str]
) -> list[list[str]]:
    return [
        [row, *(cell(row, case, results[row, case]) if (row, case) in results else "" for case in cases)]
        for row in rows
    ]


def _rates(results: Medians, cases: list[str]) -> str:
    def cell(label: str, case: str, figures: Figures) -> str:
        share = f" ({100 * figures['roofline']:.0f} %)" if "roofline" in figures else ""
        return f"{figures['rate']:.1f}{share}"

    return _table(["", *cases], _cells(results, labels(results), cases, cell))


def _overall(results: Medians, cases: list[str]) -> str:
    return _table(["", *cases], _cells(results, labels(results), cases, lambda *cell: f"{cell[2]['overall']:.1f}"))


def _ratios(results: Medians, cases: list[str]) -> str:
    ours = [label for label in labels(results) if label.startswith("jaxchat")]

    def cell(label: str, case: str, figures: Figures) -> str:
        rates = [results[own, case]["rate"] for own in ours if (own, case) in results]
        return f"{max(rates) / figures['rate']:.2f}" if rates else ""

    return _table(["", *cases], _cells(results, _peers(results), cases, cell))


def _latencies(results: Medians, cases: list[str]) -> str:
    def three(figures: Figures, name: str) -> str:
        return " / ".join(f"{1000 * figures[f'{name}_p{q}']:.0f}" for q in (50, 95, 99))

    rows = [
        [label, case.removeprefix("mix-"), three(figures, "first"), three(figures, "gap"), f"{figures['overall']:.1f}"]
        for (label, case), figures in results.items()
        if case in cases
    ]
    return _table(["", "requests/s", "to the first token", "between tokens", "tokens/s"], rows)


def _conditions(records: list[Record]) -> str:
    read = [record.limits.bandwidth / 1e9 for record in records]
    matmul = [record.limits.matmul / 1e9 for record in records]
    others = [record.others for record in records]
    versions = "; ".join(f"{label} {version}" for label, version in {r.label: r.version for r in records}.items())
    repetitions = 1 + max(record.repetition for record in records)
    return (
        f"{_processor()}. Medians of {repetitions} repetitions. Probes: "
        f"memory {min(read):.0f} to {max(read):.0f} GB/s, median {statistics.median(read):.0f}; "
        f"products {min(matmul):.0f} to {max(matmul):.0f} GFLOP/s, median {statistics.median(matmul):.0f}. "
        f"Other processes had {100 * min(others):.0f} to {100 * max(others):.0f} % of the processors meanwhile, "
        f"median {100 * statistics.median(others):.0f}. "
        f"Versions: {versions}."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else platform.processor()
