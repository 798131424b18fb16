"""Draws a profile: the parts of a step as bars, and a few steps on a time axis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # files only, no display

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from tools.profiling.kinds import KINDS
from tools.profiling.trace import Trace

PHASES = ("schedule", "pack", "dispatch", "wait", "emit")
COLOURS = dict(zip((*KINDS, *PHASES), [*plt.cm.tab10.colors[:9], *plt.cm.Set3.colors], strict=False))


def draw(
    per_step: Mapping[str, Counter[str]], trace: Trace, window: tuple[float, float], title: str, path: Path
) -> None:
    """Writes the picture as a PNG.

    Args:
        per_step: mean milliseconds of a step: of each program by kind of operation, and of the host by phase.
        trace: the operations and phases with their times.
        window: begin and end of the part to draw on the time axis, in milliseconds of the trace's clock.
        title: the title of the picture.
        path: the file to write.
    """
    figure, (bars, clock) = plt.subplots(2, 1, figsize=(11, 6), layout="constrained", height_ratios=(3, 2))
    _bars(bars, per_step)
    _clock(clock, trace, window)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _bars(axes: Axes, per_step: Mapping[str, Counter[str]]) -> None:
    named = set()
    for row, (_, times) in enumerate(per_step.items()):
        left = 0.0
        for kind in (kind for kind in COLOURS if times[kind] > 0):
            label = None if kind in named else kind
            axes.barh(row, times[kind], left=left, color=COLOURS[kind], label=label)
            left += times[kind]
            named.add(kind)
        axes.text(left, row, f" {left:.1f} ms", va="center")
    axes.set(yticks=range(len(per_step)), yticklabels=list(per_step), xlabel="milliseconds of a step")
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _clock(axes: Axes, trace: Trace, window: tuple[float, float]) -> None:
    begin, end = window
    for row, spans in enumerate(([op for op in trace.operations if not op.container], trace.phases)):
        shown = [span for span in spans if begin <= span.begin < end]
        for kind in {span.kind for span in shown}:
            places = [(span.begin - begin, span.end - span.begin) for span in shown if span.kind == kind]
            axes.broken_barh(places, (row - 0.4, 0.8), color=COLOURS[kind], linewidth=0)
    axes.set(yticks=(0, 1), yticklabels=("device", "host"), xlabel="milliseconds", xlim=(0, end - begin))
    axes.invert_yaxis()
