"""Runs a follower of a multihost group: compares it with the leader, runs the leader's steps and leaves the group."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

from jaxchat.chat.prompt.tokenizer import load_tokenizer
from jaxchat.checkpoints.find_model import find_model
from jaxchat.config import EngineConfig
from jaxchat.errors import ModelError
from jaxchat.model_directory import text_files
from jaxchat.types import MultihostFollower, Report


def run_follower(model: str, engine: EngineConfig, leader: MultihostFollower, report: Report = lambda *_: None) -> None:
    """Loads this process's part of a model and runs the leader's steps until the leader ends. Then leaves the group.

    Args:
        model: "bundled", a model directory, a GGUF file or a hub id.
        engine: engine settings, which are equal in all processes except for `cache_dir` and `max_queued`.
        leader: the connection to the leader.
        report: called as `report(stage, done, total)` while the model loads.

    Raises:
        ModelError: the model cannot be loaded.
        MultihostError: a process does not join in time or differs from the leader, or the leader is lost.
        OSError: `cache_dir` names a folder that is not writable.
        ValueError: a name is not registered, or settings do not fit the model or the devices. Also raised if
            `engine.determinism` is "exact" and answers could depend on the slot or on other prompts.
    """
    from jaxchat.parallel.distributed import join, leave  # these import jax
    from jaxchat.runtime.load import load_runner
    from jaxchat.runtime.multihost import run_follower as run

    directory = find_model(model, engine.cache_dir)
    tokenizer = load_tokenizer(directory)
    join(leader)
    loaded = load_runner(
        directory,
        engine,
        valid=tokenizer.size,
        text_digest="",
        report=report,
        agree=leader.agree,
        tune_process=True,
    )
    run(loaded.runner, leader.steps())
    leave()


def leave_multihost() -> None:
    """Leaves the multihost group. Waits before that, at most 30 seconds, until the other processes want to leave too.

    The leader calls this function after it has told the followers that no more steps follow.
    """
    from jaxchat.parallel.distributed import leave

    leave()


def multihost_facts(model: str, engine: EngineConfig) -> dict[str, str]:
    """Returns the values that must be equal in all processes, by name.

    The values are the versions of jaxchat, jax and jaxlib, hashes of the files that serving reads besides weights, and
    all fields of `engine` except `cache_dir` and `max_queued`.

    Raises:
        ModelError: the model is not found, or lacks `config.json` or `tokenizer.json`.
        OSError: a file cannot be read.
    """
    directory = find_model(model, engine.cache_dir)
    facts = {name: version(name) for name in ("jaxchat", "jax", "jaxlib")}
    hashes = {str(path.relative_to(directory)): _hash(path) for path in text_files(directory)}
    for name in ("config.json", "tokenizer.json"):
        if name not in hashes:
            raise ModelError(f"{directory / name}: not found")
    facts |= hashes
    settings = {field.name: str(getattr(engine, field.name)) for field in fields(engine)}
    del settings["cache_dir"], settings["max_queued"]
    return facts | settings


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
