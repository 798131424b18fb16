"""Progress bars in a notebook or at a terminal while a model loads."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxchat.types import Report  # brings numpy, which the command line does without

_DESCRIPTIONS = {
    "loading weights": "Loading weights",
    "loading programs": "Loading programs",
    "building kernels": "First start: building kernels",
    "compiling programs": "First start: compiling programs, about a minute",
}


@contextmanager
def loading_report(progress: bool | Report) -> Iterator[Report]:
    """Yields the function to which loading reports its progress. Closes the bars when the context ends.

    Args:
        progress: True for bars in a notebook or at a terminal, False for no output, or the function itself.
    """
    if not isinstance(progress, bool):
        yield progress
    elif progress and is_interactive():
        bars = ProgressBars()
        try:
            yield bars
        finally:
            bars.close()
    else:
        yield _silent


def is_interactive() -> bool:
    """Returns whether the process runs a notebook, or its standard error is a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel") or sys.stderr.isatty()


class ProgressBars:
    """A callable `report(stage, done, total)` that shows one bar for each stage, as a widget in notebooks."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self.close()
            self._stage = stage
            self._begin(stage, total)
        if self._bar is not None:
            self._bar.n = done
            self._bar.refresh()

    def _begin(self, stage: str, total: int) -> None:
        """Shows the bar of a new stage."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a notebook without ipywidgets shows bars as text, which needs no advice
            from tqdm.auto import tqdm  # looks for widgets when imported

        self._bar = tqdm(total=total, desc=_DESCRIPTIONS.get(stage, stage))

    def close(self) -> None:
        """Ends the current bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _silent(stage: str, done: int, total: int) -> None:
    """Shows nothing."""
