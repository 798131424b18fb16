"""Starts and ends the processes of a multihost group."""

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
from serving.cli.extras import missing_package
from serving.config import MultihostConfig
from serving.multihost.follower import Follower
from serving.multihost.leader import Leader

log = logging.getLogger(__name__)


def lead(model: str, engine: EngineConfig, config: MultihostConfig, serve: Callable[[Leader], int]) -> int:
    """Waits for all followers, calls `serve` and returns its status. If the status is 0, the followers end too.

    Args:
        model: the model, as in `--model`.
        engine: settings of the engine.
        config: settings of this process and its followers.
        serve: serves with the given leader until it is stopped, and returns an exit status.

    Raises:
        ModelError: the model is not found, or lacks `config.json` or `tokenizer.json`.
        OSError: a file of the model cannot be read, or the address is taken.
        MultihostError: a follower does not join in time.
        Exception: any exception of `serve`.
    """
    leader = open_leader(model, engine, config)
    try:
        print(f"Waiting for {config.processes - 1} more processes at {config.coordinator}.", flush=True)
        leader.gather()
        status = serve(leader)
        if not status:
            leader.end()
            leave_multihost()
        return status
    finally:
        leader.close()


def open_leader(model: str, engine: EngineConfig, config: MultihostConfig) -> Leader:
    """Returns a leader that listens for followers. If a follower is lost, the leader ends this process.

    The caller can set the leader's attribute `lost` to a function that does something else.

    Raises:
        ModelError: the model is not found, or lacks `config.json` or `tokenizer.json`.
        OSError: a file of the model cannot be read, or the address is taken.
    """
    from jaxchat.multihost.follower import multihost_facts

    return Leader(config, multihost_facts(model, engine), _exit_on_loss)


def leave_multihost() -> None:
    """Waits at most 30 seconds until all processes leave the multihost group, and leaves it together with them.

    The leader calls this after `Leader.end`.
    """
    from jaxchat.multihost.follower import leave_multihost as leave

    leave()


def run_follower(model: str, engine: EngineConfig, config: MultihostConfig, report: Report) -> int:
    """Runs the leader's steps and returns 0 when the leader ends the run.

    SIGTERM and Ctrl-C ask the leader to end the run. A second signal of the same kind ends this process. If the leader
    is lost after all processes have joined, this process ends.

    Args:
        model: the model, as in `--model`.
        engine: settings of the engine.
        config: settings of this process and its leader.
        report: called with the progress of loading and compiling.

    Raises:
        MultihostError: a process does not join in time or differs from the leader, or the leader is lost before all
            processes have joined.
        OSError: a file of the model cannot be read.
        Exception: any exception of `jaxchat.multihost.follower.run_follower`.
    """
    from jaxchat.multihost.follower import multihost_facts
    from jaxchat.multihost.follower import run_follower as run

    follower = Follower(config, multihost_facts(model, engine), _exit_on_loss)
    print(f"Process {config.process_id} joins the leader at {config.coordinator}.", flush=True)
    follower.join()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _once(follower.leave))
    run(model, engine, follower, report)
    follower.close()
    return 0


def exit_on_failure(work: Callable[[], int]) -> int:
    """Runs `work` and returns 0 if its exit status is 0. Otherwise ends the process at once with that status.

    If `work` raises an exception, reports it and uses status 1, or 130 for KeyboardInterrupt. A normal exit would wait
    for Python threads and JAX processes that may never finish.
    """
    try:
        status = work()
    except KeyboardInterrupt:
        status = 130
    except (ModelError, OSError, MultihostError, ValueError) as error:
        print(f"jaxchat: {error}", file=sys.stderr)
        status = 1
    except Exception as error:
        line = missing_package(error) if isinstance(error, ModuleNotFoundError) else None
        if line is None:
            log.exception("this process failed")
        else:
            print(line, file=sys.stderr)
        status = 1
    if status:
        _exit(status)
    return status


def _exit_on_loss(reason: str) -> None:
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
