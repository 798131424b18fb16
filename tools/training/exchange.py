"""Averages the parameters of two training runs from time to time, so that each learns from the samples of both."""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import Any

import jax

WAIT = 30.0  # seconds to wait for the other run


class Exchange:
    """An exchange of parameters with another run, through files.

    Args:
        work: folder of this run.
        other: folder of the other run, which has this one as its `other`.
        every: seconds between exchanges.
    """

    def __init__(self, work: Path, other: Path, every: float) -> None:
        self._work, self._other, self._every, self._round = work, other, every, 0

    def due(self, elapsed: float) -> bool:
        """Returns whether it is time for an exchange, `elapsed` seconds after the start."""
        return elapsed // self._every > self._round

    def mean(self, params: Any) -> Any:
        """Returns the mean of `params` and those of the other run, or `params` if the other run is too late."""
        self._round += 1
        temporary = self._work / "exchange.tmp"
        temporary.write_bytes(pickle.dumps(jax.device_get(params)))
        temporary.replace(self._work / f"exchange-{self._round}.pkl")
        (self._work / f"exchange-{self._round - 2}.pkl").unlink(missing_ok=True)
        begun, path = time.monotonic(), self._other / f"exchange-{self._round}.pkl"
        while not path.exists():
            if time.monotonic() - begun > WAIT:
                print(f"exchange {self._round}: the other run is too late", flush=True)
                return params
            time.sleep(0.2)
        return jax.tree.map(lambda mine, theirs: (mine + theirs) / 2, params, pickle.loads(path.read_bytes()))
