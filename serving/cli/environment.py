"""Sets environment variables before jax is imported, unless the user has set them."""

from __future__ import annotations

import os

from serving.config import LogLevel

_CPP_LEVELS = {"debug": "0", "warning": "3", "error": "3"}


def quiet_compiler(level: LogLevel = "warning") -> None:
    """Hides XLA's C++ log unless `level` is info or debug.

    XLA logs slow compilations as errors of several lines each. Real failures raise exceptions.
    """
    if level in _CPP_LEVELS:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", _CPP_LEVELS[level])


def claim_gpu_memory() -> None:
    """Lets jax use 90 % of a GPU's memory, as `jaxchat plan` assumes. The default of jax is 75 %."""
    if not os.environ.keys() & {"XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"}:
        os.environ["XLA_CLIENT_MEM_FRACTION"] = "0.9"
