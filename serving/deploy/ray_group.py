"""Runs the processes of a model as Ray actors. Ray places and watches them. If one is lost, Ray starts all again.

A Ray Serve replica is the leader, and starts one actor for each follower. All are in the placement group of the
replica. Ray Serve makes and removes this group together with the replica. If a process is lost, the leader ends, Ray
ends the leader's actors, and Ray Serve starts a new replica. docs/multihost.md describes multihost groups.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from jaxchat.api import load_session
from jaxchat.config import ChatConfig, EngineConfig
from jaxchat.settings import check_names
from serving.backend import Session
from serving.cli.multihost import exit_on_failure, leave_multihost, open_leader, run_follower
from serving.config import MultihostConfig
from serving.multihost.leader import Leader

STRATEGY = "STRICT_SPREAD"  # each process on another node
FAILURE_NOTICE = 1.0  # seconds during which the replica of a lost group still answers its open requests


@dataclass(frozen=True, kw_only=True)
class GroupConfig:
    """Settings of a model and of the processes that serve it.

    Attributes:
        model: "bundled", a model directory, a GGUF file or a hub id, the same on all nodes.
        engine: settings of the engine.
        chat: settings of requests.
        multihost: settings of the processes. Ray sets `process_id` and `coordinator`.
    """

    model: str = "bundled"
    engine: EngineConfig = EngineConfig()
    chat: ChatConfig = ChatConfig()
    multihost: MultihostConfig = MultihostConfig()

    @classmethod
    def of(cls, model: str, settings: Mapping[str, Any]) -> GroupConfig:
        """Returns a configuration with `settings`: fields of `EngineConfig`, `ChatConfig` and `MultihostConfig`.

        Raises:
            TypeError: a name is unknown, or a value has the wrong type.
            ValueError: a value is not allowed, or Ray sets it.
        """
        classes = (EngineConfig, ChatConfig, MultihostConfig)
        check_names(settings, [field.name for each in classes for field in fields(each)])
        for name in ("process_id", "coordinator"):
            if name in settings:
                raise ValueError(f"{name} must not be given: Ray sets it, got {settings[name]!r}")
        processes = {"processes": settings["processes"]} if "processes" in settings else {}
        engine, chat, multihost = (
            {field.name: settings[field.name] for field in fields(each) if field.name in settings} for each in classes
        )
        if processes and settings["processes"] != 1:
            multihost["coordinator"] = "ray:1"  # replaced when the leader's address is known
        return cls(
            model=model,
            engine=EngineConfig(**engine),
            chat=ChatConfig(**chat),
            multihost=MultihostConfig(**multihost),
        )


def replica_options(processes: int, bundle: Mapping[str, float], strategy: str = STRATEGY) -> dict[str, Any]:
    """Returns options of a Ray Serve deployment whose replicas have one bundle of resources for each process.

    Args:
        processes: number of processes and of bundles. The replica uses the first bundle.
        bundle: resources of one process, as in {"CPU": 1, "TPU": 4}.
        strategy: how Ray spreads the bundles over nodes.
    """
    return {
        "ray_actor_options": _actor_resources(bundle),
        "placement_group_bundles": [dict(bundle)] * processes,
        "placement_group_strategy": strategy,
    }


class Group:
    """The processes of one model. This process leads the others and answers the requests.

    Args:
        config: settings of the model and of its processes.
    """

    def __init__(self, config: GroupConfig) -> None:
        self._config = config
        self._leader: Leader | None = None
        self._followers: list[Any] = []  # Ray ends an actor when the last reference to it is gone
        self.session: Session

    async def start(self) -> Session:
        """Starts the followers, loads the model in all processes, and returns a session that has been started.

        Raises:
            ModelError: the model cannot be loaded.
            MultihostError: a process does not join in time, differs from the leader, or is lost.
            OSError: the address of the leader is taken.
            ValueError: settings do not fit the model or the devices.
        """
        self.session = await asyncio.to_thread(self._load)
        if self._leader:
            self._leader.lost = partial(self._lost, asyncio.get_running_loop())
        await self.session.start()
        return self.session

    async def close(self) -> None:
        """Ends the engine, and then the followers."""
        await self.session.close()
        if self._leader:
            await asyncio.to_thread(self._end, self._leader)

    def _load(self) -> Session:
        config = self._config
        if config.multihost.processes > 1:
            coordinator = f"{ray.util.get_node_ip_address()}:{_free_port()}"
            config = replace(config, multihost=replace(config.multihost, coordinator=coordinator))
            self._leader = open_leader(config.model, config.engine, config.multihost)
            self._followers = [_start_follower(config, i) for i in range(1, config.multihost.processes)]
            self._leader.gather()
        return load_session(config.model, config.engine, chat=config.chat, leader=self._leader, tune_process=True)

    def _lost(self, loop: asyncio.AbstractEventLoop, reason: str) -> None:
        """Fails the open requests, and ends this process soon after, so that Ray starts a new group."""
        print(f"jaxchat: {reason}. Stopping.", file=sys.stderr, flush=True)
        loop.call_soon_threadsafe(self.session.fail)
        threading.Timer(FAILURE_NOTICE, os._exit, (1,)).start()

    def _end(self, leader: Leader) -> None:
        leader.end()
        leave_multihost()
        leader.close()


@ray.remote(max_restarts=0)
class Follower:
    """An actor that is one follower."""

    def run(self, config: GroupConfig) -> int:
        """Runs the leader's steps and returns 0 when the leader ends the run. Ends this process if anything fails."""
        report = lambda *_: None  # noqa: E731
        return exit_on_failure(lambda: run_follower(config.model, config.engine, config.multihost, report))


def _start_follower(config: GroupConfig, process_id: int) -> Any:
    group = ray.util.get_current_placement_group()
    strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=process_id)
    resources = _actor_resources(group.bundle_specs[process_id])
    actor: Any = Follower.options(scheduling_strategy=strategy, **resources)  # type: ignore[attr-defined]
    follower = actor.remote()
    follower.run.remote(replace(config, multihost=replace(config.multihost, process_id=process_id)))
    return follower


def _actor_resources(bundle: Mapping[str, float]) -> dict[str, Any]:
    custom = {name: amount for name, amount in bundle.items() if name not in ("CPU", "GPU")}
    return {"num_cpus": bundle.get("CPU", 0), "num_gpus": bundle.get("GPU", 0), "resources": custom}


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("", 0))
        port: int = listener.getsockname()[1]
        return port
