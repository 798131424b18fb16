"""Progress messages on stderr while a model is loaded and its programs are compiled."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from jaxchat.progress import ProgressBars
from serving.observability.logs import to_stderr

Say = Callable[[str], None]
_LINES = {
    "loading weights": "Loading weights.",
    "loading programs": "Loading {total} programs.",
    "building kernels": "First start: building kernels in C++ for this CPU, less than a minute{cached}.",
    "compiling programs": "First start with these settings: compiling {total} programs, about a minute{cached}.",
}
_ENDS = {"building kernels": "Built kernels in {seconds:.0f} s.", "compiling programs": "Compiled in {seconds:.0f} s."}


class Progress(ProgressBars):
    """A callable `report(stage, done, total)` that shows progress: bars at a terminal, otherwise lines.

    At a terminal, also prints a line before kernels are built or programs are compiled. The line says that only a first
    start needs this.
    """

    def __init__(self, folder: Path | None = None, say: Say = to_stderr, *, leave: bool = True) -> None:
        """Stores the arguments. Output begins with the first call.

        Args:
            folder: cache directory of kernels and programs. None means that they are not cached.
            say: a function that prints a line.
            leave: whether a bar stays when its stage has ended.
        """
        super().__init__()
        self._cached = f"; kept in {folder}" if folder else ""
        self._say = say
        self._leave = leave
        self._began = 0.0
        self._ended: set[str] = set()  # further replicas of the model repeat these stages

    def __call__(self, stage: str, done: int, total: int) -> None:
        super().__call__(stage, done, total)
        if done == total:
            self._end()

    def _begin(self, stage: str, total: int) -> None:
        self._began = time.monotonic()
        terminal = sys.stderr.isatty()
        if stage in _LINES and (stage in _ENDS or not terminal):
            self._say(_LINES[stage].format(total=total, cached=self._cached))
        if terminal:
            self._bar = tqdm(total=total, desc=stage, file=sys.stderr, leave=self._leave)

    def _end(self) -> None:
        if self._bar is None and self._stage in _ENDS.keys() - self._ended:
            self._say(_ENDS[self._stage].format(seconds=time.monotonic() - self._began))
        self._ended.add(self._stage)
        self.close()
