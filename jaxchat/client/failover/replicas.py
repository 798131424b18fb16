"""The replicas of a server, and the choice of one for each call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from jaxchat.client.failover.targets import DNS, Address, resolve

_FIRST_COOLDOWN = 1.0  # seconds during which a replica that failed is asked last; doubles with each further failure
_LONGEST_COOLDOWN = 30.0
_REFRESH = 30.0  # seconds between two questions to DNS
_REFRESH_AFTER_FAILURE = 2.0


@dataclass(eq=False)
class Replica:
    """A server that answers calls.

    Attributes:
        name: names the replica in errors.
        channel: its gRPC channel.
        stub: the stub of the chat service on that channel.
        serving: whether its health check reports that it serves. True if nobody watches its health.
        open: number of open calls.
        failures: number of failures since the last success.
        retry_at: monotonic time until which other replicas are asked first.
        picked: when the replica was last picked: 5 for the fifth pick of the whole set, for example. 0 for never.
    """

    name: str
    channel: Any
    stub: Any
    serving: bool = True
    open: int = 0
    failures: int = 0
    retry_at: float = 0.0
    picked: int = 0


Open = Callable[[Address, int], Replica]
"""Opens the replica at an address. The number counts the replicas that were opened, from 1."""


class ReplicaSet:
    """The replicas behind a list of targets. Usable from several threads.

    A call goes to the replica with the fewest open calls. If several replicas have equally few, the call goes to the
    replica that was picked longest ago. Replicas that failed lately or do not serve come last.

    Args:
        targets: `host:port`, or `dns:///name:port` for all addresses of a name.
        open_replica: opens the replica at an address.
    """

    def __init__(self, targets: tuple[str, ...], open_replica: Open) -> None:
        self._targets = targets
        self._open_replica = open_replica
        self._lock = threading.Lock()
        self._by_address: dict[Address, Replica] = {}
        self._retired: list[Replica] = []
        self._opened = 0
        self._picks = 0
        self._resolved = -float("inf")
        self._named = any(map(self.is_name, targets))
        if not self._named:
            self.update(self.lookup())

    @staticmethod
    def is_name(target: str) -> bool:
        """Returns whether a target is a name, `dns:///name:port`, which may have several addresses."""
        return target.startswith(DNS)

    @property
    def all(self) -> list[Replica]:
        """The replicas at present, in the order of their targets."""
        return list(self._by_address.values())

    @property
    def single(self) -> bool:
        """Whether there is one target, and it is an address. A failed call then has no other replica to go to."""
        return not self._named and len(self._by_address) == 1

    def stale(self, *, failed: bool) -> bool:
        """Returns whether DNS should be asked now. `failed` says whether a call has just failed."""
        age = time.monotonic() - self._resolved
        return self._named and age > (_REFRESH_AFTER_FAILURE if failed or not self._by_address else _REFRESH)

    def lookup(self) -> list[Address]:
        """Returns the addresses of the targets. Blocks while it asks DNS."""
        self._resolved = time.monotonic()
        return resolve(self._targets)

    def update(self, addresses: Collection[Address]) -> None:
        """Opens replicas at new addresses, and retires replicas whose address is not among `addresses`.

        Does nothing if `addresses` is empty.
        """
        if not addresses:
            return
        with self._lock:
            before, self._by_address = self._by_address, {}
            for address in addresses:
                replica = before.pop(address, None)
                if replica is None:
                    self._opened += 1
                    replica = self._open_replica(address, self._opened)
                self._by_address[address] = replica
            self._retired += before.values()

    def take_idle(self) -> list[Replica]:
        """Removes and returns the retired replicas without open calls. The caller closes them."""
        with self._lock:
            idle = [replica for replica in self._retired if not replica.open]
            self._retired = [replica for replica in self._retired if replica.open]
        return idle

    def take_all(self) -> list[Replica]:
        """Removes and returns all replicas, including retired ones. The caller closes them."""
        with self._lock:
            replicas = [*self._by_address.values(), *self._retired]
            self._by_address, self._retired = {}, []
        return replicas

    def pick(self, others: Collection[Replica] = ()) -> Replica | None:
        """Returns the best replica that is not among `others`, or None. Adds 1 to the open calls of the replica."""
        with self._lock:
            now = time.monotonic()
            candidates = [replica for replica in self._by_address.values() if replica not in others]
            if not candidates:
                return None
            best = min(candidates, key=lambda replica: _rank(replica, now))
            self._picks += 1
            best.picked = self._picks
            best.open += 1
        return best

    def release(self, replica: Replica) -> None:
        """Subtracts 1 from the open calls of the replica, when a call has ended."""
        with self._lock:
            replica.open -= 1

    def failed(self, replica: Replica) -> None:
        """Records a failure of the replica. For some seconds, calls prefer other replicas."""
        with self._lock:
            cooldown = min(_FIRST_COOLDOWN * 2.0 ** min(replica.failures, 10), _LONGEST_COOLDOWN)
            replica.failures += 1
            replica.retry_at = time.monotonic() + cooldown

    def works(self, replica: Replica) -> None:
        """Forgets the failures of the replica."""
        replica.failures, replica.retry_at = 0, 0.0


def _rank(replica: Replica, now: float) -> tuple[bool, float, int, int]:
    waits = max(replica.retry_at - now, 0.0)
    return not replica.serving, waits, replica.open, replica.picked
