"""Calls over several replicas of a server. If the replica of a call is lost, the call goes on at another replica.

An answer depends only on its request and seed, bit for bit. If a request is sent again to a replica with the same
`system_fingerprint`, the answer is the same. A stream can therefore continue after the part that was already delivered.
"""

from jaxchat.client.failover.asyncio_calls import AsyncCalls, Metadata
from jaxchat.client.failover.attempts import FailoverPolicy
from jaxchat.client.failover.blocking_calls import BlockingCalls, BlockingStream
from jaxchat.client.failover.chat_stream import ResumableChat, resumable_chat
from jaxchat.client.failover.replicas import Replica, ReplicaSet
from jaxchat.client.failover.resumable import Resumable, Whole, repeatable
from jaxchat.client.failover.targets import Address, split_targets

__all__ = [
    "Address",
    "AsyncCalls",
    "BlockingCalls",
    "BlockingStream",
    "FailoverPolicy",
    "Metadata",
    "Replica",
    "ReplicaSet",
    "Resumable",
    "ResumableChat",
    "Whole",
    "repeatable",
    "resumable_chat",
    "split_targets",
]
