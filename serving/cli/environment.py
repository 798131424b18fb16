"""What the command line sets in the environment before jax is imported, unless the user has."""

from __future__ import annotations

import os

from serving.config import LogLevel

_CPP_LEVELS = {"debug": "0", "warning": "3", "error": "3"}


def quiet_compiler(level: LogLevel = "warning") -> None:
    """Hides the log of XLA, in C++, unless `level` is info or debug.

    XLA reports a compilation that it finds slow as an error, several lines each time. Real failures are raised.
    """
    if level in _CPP_LEVELS:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", _CPP_LEVELS[level])


def claim_gpu_memory() -> None:
    """Lets jax take nine tenths of a GPU's memory, as `jaxchat plan` expects; its own default is three quarters."""
    if not os.environ.keys() & {"XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"}:
        os.environ["XLA_CLIENT_MEM_FRACTION"] = "0.9"
