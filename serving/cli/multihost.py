"""Serving from several processes: how each of them begins and ends."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from jaxchat.config import EngineConfig
from jaxchat.errors import ModelError, MultihostError
from jaxchat.types import Report
from serving.config import MultihostConfig
from serving.multihost.follower import Follower
from serving.multihost.leader import Leader

log = logging.getLogger(__name__)


def lead(model: str, engine: EngineConfig, pod: MultihostConfig, serve: Callable[[Leader], int]) -> int:
    """Gathers the pod, serves, and lets the followers finish when that has ended well."""
    from jaxchat.multihost.follower import leave_pod, pod_facts

    leader = Leader(pod, pod_facts(model, engine), _end_at_once)
    try:
        print(f"Waiting for {pod.processes - 1} more processes at {pod.coordinator}.", flush=True)
        leader.gather()
        status = serve(leader)
        if not status:
            leader.end()
            leave_pod()
        return status
    finally:
        leader.close()


def run_follower(model: str, engine: EngineConfig, pod: MultihostConfig, report: Report) -> int:
    """Runs the steps of a leader; SIGTERM and Ctrl-C ask it to end the pod, a second one ends the process."""
    from jaxchat.multihost.follower import pod_facts
    from jaxchat.multihost.follower import run_follower as run

    follower = Follower(pod, pod_facts(model, engine), _end_at_once)
    print(f"Process {pod.process_id} joins the pod at {pod.coordinator}.", flush=True)
    follower.join()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _once(follower.leave))
    run(model, engine, follower, report)
    follower.close()
    return 0


def ending(work: Callable[[], int]) -> int:
    """The status of `work`; where that is not 0 the process ends here and now.

    Python's own way out would wait for threads, and JAX's for processes, that may never come.
    """
    try:
        status = work()
    except KeyboardInterrupt:
        status = 130
    except (ModelError, OSError, MultihostError, ValueError) as error:
        print(f"jaxchat: {error}", file=sys.stderr)
        status = 1
    except Exception:
        log.exception("this process of the pod failed")
        status = 1
    if status:
        _exit(status)
    return status


def _end_at_once(reason: str) -> None:
    print(f"jaxchat: {reason}. Stopping.", file=sys.stderr)
    _exit(1)


def _exit(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _once(act: Callable[[], None]) -> Callable[[int, Any], None]:
    def handle(number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        act()

    return handle
