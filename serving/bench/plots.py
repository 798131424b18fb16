"""Draws latency and throughput against load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # files only, no display

import matplotlib.pyplot as plt

from serving.bench.figures import LoadFigures


def draw(results: Sequence[LoadFigures], path: Path) -> None:
    """Writes a picture in the format that the extension of `path` names, such as .png or .svg."""
    ordered = sorted(results, key=lambda figures: figures.load)
    loads = [figures.load for figures in ordered]
    figure, panes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for axes, name, title in zip(
        panes, ("first_token", "inter_token"), ("time to first token", "inter-token latency"), strict=False
    ):
        for share, style in (("p50", "-"), ("p90", "--"), ("p99", ":")):
            values = [1000 * getattr(getattr(figures, name), share) for figures in ordered]
            axes.plot(loads, values, style, marker="o", label=share)
        axes.set(title=title, ylabel="ms", ylim=(0, None))
        axes.legend(fontsize="small")
    panes[2].plot(loads, [figures.output_rate for figures in ordered], marker="o")
    panes[2].set(title="throughput", ylabel="output tokens/s", ylim=(0, None))
    for axes in panes:
        axes.set_xlabel("requests/s" if ordered[0].kind == "rate" else "requests at a time")
    figure.savefig(path, dpi=120)
    plt.close(figure)
