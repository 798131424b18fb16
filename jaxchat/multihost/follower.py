"""A process's place in a pod: what must be equal in all of them, following the leader, leaving."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from importlib.metadata import version

from jaxchat.chat.prompt.tokenizer import load_tokenizer
from jaxchat.config import EngineConfig
from jaxchat.model_directory import find
from jaxchat.types import MultihostFollower, Report


def run_follower(model: str, engine: EngineConfig, pod: MultihostFollower, report: Report = lambda *_: None) -> None:
    """Loads this process's part of a model and runs the steps of the pod's leader until the pod has finished.

    Raises:
        ModelError: the model cannot be loaded.
        MultihostError: the processes do not come together, or differ.
    """
    from jaxchat.parallel.distributed import join, leave  # these import jax
    from jaxchat.runtime.load import load_runner
    from jaxchat.runtime.multihost import run_follower as run

    directory = find(model)
    tokenizer = load_tokenizer(directory)
    join(pod)
    loaded = load_runner(
        directory,
        engine,
        valid=tokenizer.size,
        text_digest="",
        report=report,
        agree=pod.agree,
        tune_process=True,
    )
    run(loaded.runner, pod.steps())
    leave()


def leave_pod() -> None:
    """The last thing that the leader of a pod does, as its followers do: each waits for all."""
    from jaxchat.parallel.distributed import leave

    leave()


def pod_facts(model: str, engine: EngineConfig) -> dict[str, str]:
    """What must be equal in all processes of a pod, by name: versions, the model's settings, the engine's."""
    directory = find(model)
    facts = {name: version(name) for name in ("jaxchat", "jax", "jaxlib")}
    for name in ("config.json", "tokenizer.json"):
        facts[name] = hashlib.sha256((directory / name).read_bytes()).hexdigest()[:16]
    settings = {field.name: str(getattr(engine, field.name)) for field in fields(engine)}
    del settings["cache_dir"], settings["max_queued"]
    return facts | settings
