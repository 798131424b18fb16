"""The command `jaxchat` with a device that fails in the step after the signal SIGUSR1."""

from __future__ import annotations

import signal
import sys
from typing import Any

from jaxchat.runtime.runner import Runner
from serving.cli import serve
from serving.cli.main import main

broken = False
decode = Runner.decode


def breaks(*_: object) -> None:
    global broken
    broken = True


def fragile(self: Runner, work: Any) -> Any:
    if broken:
        raise RuntimeError("the device is lost")
    return decode(self, work)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, breaks)
    Runner.decode = fragile  # type: ignore[method-assign]
    serve.FAILURE_NOTICE = 5.0  # a busy machine may need longer than a second for what the test asks then
    sys.exit(main())
