"""Progress bars on stderr while a model loads and compiles."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


class Progress:
    """Called as `report(stage, done, total)`; shows one bar a stage, nothing where stderr is no terminal."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self._bar is None or stage != self._stage:
            self.close()
            self._stage = stage
            self._bar = tqdm(total=total, desc=stage, file=sys.stderr, leave=True, disable=None)
        self._bar.n = done
        self._bar.refresh()
        if done == total:
            self.close()

    def close(self) -> None:
        """Ends the current bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
