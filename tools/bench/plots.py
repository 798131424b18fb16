"""Pictures of the results: the share of the roofline, and latency against load."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # files only, no display

import matplotlib.pyplot as plt
import numpy as np

from tools.bench.report import Medians, labels


def draw(results: Medians, directory: Path, stem: str) -> list[Path]:
    """Writes the pictures for which there are results, and returns their paths. File names begin with `stem`."""
    directory.mkdir(parents=True, exist_ok=True)
    steady = {key: figures for key, figures in results.items() if "roofline" in figures}
    mixed = {key: figures for key, figures in results.items() if "gap_p50" in figures}
    paths = []
    if steady:
        paths.append(directory / f"{stem}-roofline.png")
        _roofline(steady, paths[-1])
    if mixed:
        paths.append(directory / f"{stem}-latency.png")
        _latency(mixed, paths[-1])
    return paths


def _roofline(results: Medians, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    cases, rows = list(dict.fromkeys(case for _, case in results)), labels(results)
    width = 0.8 / len(rows)
    for index, label in enumerate(rows):
        heights = [100 * results.get((label, case), {}).get("roofline", np.nan) for case in cases]
        axes.bar(np.arange(len(cases)) + width * (index - (len(rows) - 1) / 2), heights, width, label=label)
    axes.set_xticks(range(len(cases)), cases)
    axes.set_ylabel("% of what the probes allow")
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _latency(results: Medians, path: Path) -> None:
    figure, panes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for axes, (name, title) in zip(panes, (("first", "to the first token"), ("gap", "between tokens")), strict=True):
        for label in labels(results):
            points = sorted((float(case.partition("-")[2]), f) for (own, case), f in results.items() if own == label)
            loads = [load for load, _ in points]
            (line,) = axes.plot(loads, [1000 * f[f"{name}_p50"] for _, f in points], marker="o", label=label)
            axes.plot(loads, [1000 * f[f"{name}_p95"] for _, f in points], "--", color=line.get_color())
        axes.set(title=title, xlabel="requests per second", ylabel="ms, median and 95th percentile (dashed)")
        axes.set_yscale("log")
    panes[0].legend(fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_ratios(ratios: dict[tuple[str, int], float], path: Path) -> Path:
    """Writes a picture of speed ratios by task and number of users. Returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    tasks, users = (list(dict.fromkeys(keys)) for keys in zip(*ratios, strict=True))
    width = 0.8 / len(users)
    for index, count in enumerate(users):
        heights = [ratios.get((task, count), np.nan) for task in tasks]
        places = np.arange(len(tasks)) + width * (index - (len(users) - 1) / 2)
        axes.bar(places, heights, width, label=f"{count} user{'s' * (count > 1)}")
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.set_xticks(range(len(tasks)), tasks)
    axes.set_ylabel("speed, as a multiple of that without drafts")
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
