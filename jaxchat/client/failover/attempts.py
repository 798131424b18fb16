"""The attempts of one call: which replica is next, which errors are worth another attempt, and how long to wait."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import grpc

from jaxchat.client.failover.replicas import Replica, ReplicaSet
from jaxchat.client.failover.resumable import OtherFingerprint
from jaxchat.client.grpc_errors import error_of
from jaxchat.errors import ChatError, cut_off, overloaded, timeout

log = logging.getLogger("jaxchat.failover")
Failure = Literal["lost", "refused", "busy", "final"]
_FAILURES: dict[str | None, Failure] = {
    "engine_overloaded": "lost",
    "draining": "refused",
    "not_ready": "refused",
    "rate_limit_exceeded": "busy",
}

_UNREACHED = "None of the {} replicas can be reached, or takes requests."
_BROKEN = ("Stream removed", "RST_STREAM")  # gRPC's words for broken connections with other codes


@dataclass(frozen=True)
class FailoverPolicy:
    """Limits of the attempts of one call.

    A call asks one replica after the other, until one answers. If all replicas were asked and none has begun to answer,
    the call fails after this first round. If a replica has begun to answer and was lost, the call asks all replicas
    again, in further rounds with a pause before each.

    Attributes:
        rounds: maximum number of rounds without progress.
        busy_rounds: maximum number of rounds without progress, if a replica had no room in one of these rounds.
        first_pause: seconds before the second round. Each further pause is twice as long.
        longest_pause: maximum pause, in seconds.
        error: converts an error of gRPC to the error that the call raises.
    """

    rounds: int = 7
    busy_rounds: int = 30
    first_pause: float = 0.25
    longest_pause: float = 4.0
    error: Callable[[grpc.RpcError], ChatError] = error_of


def kind_of(error: grpc.RpcError) -> Failure:
    """Returns what an error means for the call.

    - "lost": the connection broke, or the engine stopped. Another replica can answer.
    - "refused": the replica shuts down or still loads its model. Another replica can answer.
    - "busy": the replica's queue is full. Another replica may have room.
    - "final": every replica would say the same, or the deadline has passed.
    """
    chat_error = error_of(error)
    if chat_error.request_id is not None:  # an error of the server itself
        return _FAILURES.get(chat_error.code, "final")
    call: Any = error
    if call.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return "lost"
    return "lost" if any(text in (call.details() or "") for text in _BROKEN) else "final"


def none_reached(errors: Sequence[grpc.RpcError], policy: FailoverPolicy) -> ChatError:
    """Returns the error to raise for a call that no replica answered.

    This is the first of `errors` whose kind is not "lost" (see `kind_of`), or the only error. If there are several
    errors and all are "lost", it is a new error, which says that no replica can be reached.
    """
    for error in errors:
        if len(errors) == 1 or kind_of(error) != "lost":
            return policy.error(error)
    return overloaded(_UNREACHED.format(len(errors)))


class Attempts:
    """The attempts of one call.

    For each attempt, the caller calls `begin`, then the replica. It calls `progressed` for each new part of a streamed
    answer, or `succeeded` for a whole answer. If the replica cannot answer, it calls `failed` or `mismatched`, which
    return the pause before the next attempt. In any case, it then calls `finish`.

    Args:
        replicas: the replicas to choose from.
        seconds: limit of the whole call; None means no limit.
        policy: limits of the attempts.
    """

    def __init__(self, replicas: ReplicaSet, seconds: float | None, policy: FailoverPolicy) -> None:
        self._replicas = replicas
        self._policy = policy
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._replica: Replica | None = None
        self._tried: set[Replica] = set()  # in this round
        self._excluded: set[Replica] = set()  # replicas with another fingerprint
        self._rounds = 0
        self._begun = False
        self._busy: ChatError | None = None
        self._mismatch: ChatError | None = None

    @property
    def remaining(self) -> float | None:
        """The seconds that are left for the call; None means no limit."""
        return None if self._deadline is None else self._deadline - time.monotonic()

    def begin(self) -> Replica:
        """Returns the replica for the next attempt. Raises `ChatError` after the deadline, or if no replica is left."""
        remaining = self.remaining
        if remaining is not None and remaining <= 0:
            raise timeout()
        self._replica = self._replicas.pick(self._tried | self._excluded) or self._replicas.pick(self._excluded)
        if self._replica is None:
            raise self._mismatch or overloaded("No replica has an address, or the client is closed.")
        return self._replica

    def finish(self) -> None:
        """Records that the attempt has ended, with or without an error."""
        if self._replica:
            self._replicas.release(self._replica)
            self._replica = None

    def progressed(self) -> None:
        """Records that the call has got further than before. The rounds are counted from zero again."""
        self._begun, self._rounds, self._busy = True, 0, None
        if self._tried:
            self._tried.clear()
        if self._replica and self._replica.failures:
            self._replicas.works(self._replica)

    def succeeded(self) -> None:
        """Records that the attempt has succeeded."""
        if self._replica:
            self._replicas.works(self._replica)

    def failed(self, error: grpc.RpcError) -> float:
        """Returns the seconds to wait before the next attempt. Raises `ChatError` if the call has failed for good."""
        kind, call = kind_of(error), cast(Any, error)
        alone = self._replicas.single or not self._replicas.all
        if kind == "final" or self._replica is None or alone:
            raise self._policy.error(error) from None
        log.warning("%s failed (%s): %s", self._replica.name, kind, call.details())
        if kind == "busy":
            self._busy = self._policy.error(error)
        else:
            self._replicas.failed(self._replica)
            accepted = bool(call.initial_metadata()) and error_of(error).request_id is None
            self._begun |= kind == "lost" and accepted  # a call that the server itself rejects has not begun
        return self._next()

    def mismatched(self, mismatch: OtherFingerprint) -> float:
        """Excludes the replica from later attempts of this call. Returns and raises as `failed` does."""
        assert self._replica is not None
        self._excluded.add(self._replica)
        log.warning("%s cannot continue: %s", self._replica.name, mismatch)
        self._mismatch = cut_off(
            f"The answer cannot go on: it began with system_fingerprint {mismatch.began}, and "
            f"{self._replica.name} has {mismatch.other}."
        )
        return self._next()

    def _next(self) -> float:
        assert self._replica is not None
        self._tried.add(self._replica)
        candidates = set(self._replicas.all) - self._excluded
        if candidates - self._tried:
            return 0.0
        self._rounds += 1
        limit = self._policy.busy_rounds if self._busy else self._policy.rounds
        if not candidates or not self._begun or self._rounds >= limit:
            raise self._last_error() from None
        self._tried.clear()
        pause = min(self._policy.first_pause * 2.0 ** (self._rounds - 1), self._policy.longest_pause)
        remaining = self.remaining
        if remaining is not None and remaining < pause:
            raise timeout() from None
        return pause

    def _last_error(self) -> ChatError:
        count = len(self._replicas.all)
        if self._mismatch:
            return self._mismatch
        if self._busy:
            return self._busy
        if self._begun:
            return cut_off(f"The answer was cut off, and none of the {count} replicas can go on with it.")
        return overloaded(_UNREACHED.format(count))
