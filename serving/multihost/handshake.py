"""Which followers a leader takes in, and how it names what keeps processes apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from jaxchat.multihost.v1 import multihost_pb2 as pb
from serving.config import MultihostConfig


def refusal(hello: pb.Hello, config: MultihostConfig, facts: Mapping[str, str], present: Collection[int]) -> str:
    """Why the leader does not take in who says `hello`; empty when it does.

    Args:
        facts: the leader's own, as in `Hello.facts`.
        present: process ids that have been taken in.
    """
    who = f"process {hello.process_id}"
    if hello.processes != config.processes:
        return f"{who}: --processes is {hello.processes}, but the leader's is {config.processes}"
    if not 0 < hello.process_id < config.processes:
        return f"{who}: --process-id must be from 1 to {config.processes - 1}"
    if hello.process_id in present:
        return f"{who}: another process has joined with the same --process-id"
    return difference(who, hello.facts, facts)


def difference(who: str, theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """Names all entries in which a process differs from the leader; empty when none does."""
    names = sorted({*theirs, *ours})
    found = [
        f"{name} is {theirs.get(name, 'missing')}, the leader's is {ours.get(name, 'missing')}"
        for name in names
        if theirs.get(name) != ours.get(name)
    ]
    return f"{who} differs: {'; '.join(found)}" if found else ""
