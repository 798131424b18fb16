"""The interface between calls and the answers that they stream."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message

from jaxchat.errors import cut_off

log = logging.getLogger("jaxchat.failover")
Request = TypeVar("Request", bound=Message)
Items = TypeVar("Items", bound="Sequence[Any]")


class Resumable(Protocol):
    """A streamed answer that can go on at another replica.

    Each attempt sends `request()` and passes every chunk to `take`. Before a further attempt, `restart` is called.
    """

    @property
    def ended(self) -> bool:
        """Whether everything was delivered, so that a lost connection loses nothing."""

    def request(self) -> Any:
        """Returns the request of the next attempt."""

    def restart(self) -> None:
        """Prepares for an attempt that first repeats what was delivered. Raises `ChatError` if that is impossible."""

    def take(self, chunk: Any) -> Any | None:
        """Returns the part of a chunk that was not delivered yet, or None if all of it was.

        Raises:
            OtherFingerprint: the replica's fingerprint is not that of the replica at which the stream began.
            ChatError: the chunk differs from what was delivered.
        """

    def end(self) -> None:
        """Raises `ChatError` if the attempt has ended before it repeated all that was delivered."""


def repeatable(request: Request) -> Request:
    """Returns a request that all replicas answer equally.

    If requests of this type have a field `seed` and it is not set, returns a copy with a random seed. Otherwise returns
    the request itself.
    """
    if "seed" not in request.DESCRIPTOR.fields_by_name or request.HasField("seed"):
        return request
    seeded = type(request)()
    seeded.CopyFrom(request)
    seeded.seed = secrets.randbits(64) - (1 << 63)  # type: ignore[attr-defined]
    return seeded


class Whole:
    """A `Resumable` that passes chunks on unchanged, and can go on at another replica only before its first chunk.

    Args:
        request: the request.
    """

    ended = False

    def __init__(self, request: Any) -> None:
        self._request = request
        self._begun = False

    def request(self) -> Any:
        return self._request

    def restart(self) -> None:
        if self._begun:
            raise cut_off("The answer was cut off, and answers of this kind cannot go on at another replica.")

    def take(self, chunk: Any) -> Any | None:
        if not chunk.ByteSize():
            return None  # Ray Serve sends an empty chunk before an error
        self._begun = True
        return chunk

    def end(self) -> None:
        pass


class OtherFingerprint(Exception):
    """The error of a replica that cannot continue a stream, because its answers may differ.

    Args:
        began: fingerprint of the replica at which the stream began.
        other: fingerprint of the replica that was to continue it.
    """

    def __init__(self, began: str, other: str) -> None:
        super().__init__(f"the stream began with system_fingerprint {began}, and the replica has {other}")
        self.began, self.other = began, other


class Delivered(Generic[Items]):
    """The items of one kind that were delivered, such as the characters of a text.

    Counts how many of these items the answer has repeated since its last restart.

    Args:
        what: names the items in errors.
        empty: the empty text or list.
    """

    def __init__(self, what: str, empty: Items) -> None:
        self._what = what
        self._empty = empty
        self._parts: list[Items] = []
        self._known = empty  # as delivered before the last restart
        self._repeated = 0

    def all(self) -> Items:
        """Returns all items."""
        if isinstance(self._empty, str):
            return "".join(self._parts)  # type: ignore[arg-type, return-value]
        return [item for part in self._parts for item in part]  # type: ignore[return-value]

    def restart(self) -> None:
        """Prepares for an answer that first repeats all items."""
        self._known = self.all()
        self._parts, self._repeated = [self._known], 0

    def rest(self, part: Items) -> Items:
        """Returns the items of `part` that are new. Raises `ChatError` if repeated items differ."""
        if self._repeated == len(self._known):
            rest = part
        else:
            known = self._known[self._repeated : self._repeated + len(part)]
            if part[: len(known)] != known:
                raise differs(self._what)
            self._repeated += len(known)
            rest = part[len(known) :]  # type: ignore[assignment]
        if rest:
            self._parts.append(rest)
        return rest

    def end(self) -> None:
        """Raises `ChatError` if the answer has not repeated all items."""
        if self._repeated < len(self._known):
            raise differs(self._what)


def differs(what: str) -> Exception:
    """Logs and returns the error of an answer that did not repeat what was delivered. `what` names the items."""
    log.error("two replicas with one fingerprint gave different answers: %s", what)
    return cut_off(f"The answer cannot go on: its {what} would not be the same at another replica.")
