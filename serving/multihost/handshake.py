"""Decides which followers a leader admits, and lists the differences between processes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from jaxchat.multihost.v1 import multihost_pb2 as pb
from serving.config import MultihostConfig


def rejection_reason(
    hello: pb.Hello, config: MultihostConfig, facts: Mapping[str, str], admitted: Collection[int]
) -> str:
    """Returns why the leader rejects a follower, or "" if the leader admits the follower.

    Args:
        hello: the follower's first message.
        config: the leader's settings.
        facts: the leader's values that must be equal in all processes, by name.
        admitted: ids of the processes that have joined.
    """
    process = f"process {hello.process_id}"
    if hello.processes != config.processes:
        return f"{process}: --processes is {hello.processes}, but the leader's is {config.processes}"
    if not 0 < hello.process_id < config.processes:
        return f"{process}: --process-id must be from 1 to {config.processes - 1}"
    if hello.process_id in admitted:
        return f"{process}: another process has joined with the same --process-id"
    return difference(process, hello.facts, facts)


def difference(process: str, theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """Returns a text with each entry that differs between a process and the leader, or "" if none does.

    Args:
        process: the name of the process in the text.
        theirs: the entries of the process.
        ours: the entries of the leader.
    """
    names = sorted({*theirs, *ours})
    entries = [
        f"{name} is {theirs.get(name, 'missing')}, the leader's is {ours.get(name, 'missing')}"
        for name in names
        if theirs.get(name) != ours.get(name)
    ]
    return f"{process} differs: {'; '.join(entries)}" if entries else ""
