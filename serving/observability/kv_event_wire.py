"""The wire format of vLLM's KV events, which routers read: three frames with one MessagePack array in the last.

The frames of a batch are the topic, the sequence number of the batch (8 bytes, big-endian, from 0), and
`[timestamp, [event, ...], data_parallel_rank]`. An event is an array that begins with the event's name. Requires the
extra `kv-events`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from jaxchat.cache_events import CacheCleared, CacheEvent, ChunksRemoved, ChunksStored

MEDIUM = "GPU"  # vLLM's word for the memory of the device, whatever the device is
SEQUENCE_BYTES = 8
END_OF_REPLAY = b"\xff" * SEQUENCE_BYTES


@dataclass(frozen=True)
class EventBatch:
    """The changes of one step of one engine.

    Attributes:
        sequence: number of the batch, from 0.
        timestamp: Unix seconds.
        rank: index of the engine.
        events: the changes, in order.
        alone: whether no other engine has published anything so far.
    """

    sequence: int
    timestamp: float
    rank: int
    events: Sequence[CacheEvent]
    alone: bool

    def frames(self, topic: bytes) -> tuple[bytes, bytes, bytes]:
        """Returns the three frames of the batch."""
        return topic, self.sequence.to_bytes(SEQUENCE_BYTES, "big"), self.payload()

    def payload(self) -> bytes:
        """Returns the batch in MessagePack."""
        events = [_encoded(event, self.alone) for event in self.events]
        packed: bytes = msgpack.packb([self.timestamp, events, self.rank])
        return packed


def _encoded(event: CacheEvent, alone: bool) -> list[Any]:
    """Returns an event as an array that begins with the event's name.

    If `alone` is true, the event of a cleared cache is `AllBlocksCleared`. At this event, some routers forget the
    blocks of all engines of a server. If `alone` is false, the event is therefore `BlockRemoved` with a list of blocks.
    """
    match event:
        case ChunksStored(parent, hashes, tokens):
            ids = memoryview(b"".join(tokens)).cast("i").tolist()
            lora_id = lora_name = None
            return ["BlockStored", hashes, parent, ids, len(ids) // len(hashes), lora_id, MEDIUM, lora_name]
        case ChunksRemoved(hashes):
            return ["BlockRemoved", hashes, MEDIUM]
        case CacheCleared(hashes):
            return ["AllBlocksCleared"] if alone else ["BlockRemoved", hashes, MEDIUM]
