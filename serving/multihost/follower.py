"""A follower's connection: joins a leader, compares the two processes, receives steps, detects the leader's loss."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grpc

from jaxchat.errors import MultihostError
from jaxchat.multihost.v1 import multihost_pb2 as pb
from jaxchat.multihost.v1 import multihost_pb2_grpc
from jaxchat.types import MultihostStep
from serving.config import MultihostConfig
from serving.multihost.channel import options
from serving.multihost.codec import decode

log = logging.getLogger(__name__)


class Follower:
    """An implementation of `jaxchat.types.MultihostFollower`.

    Args:
        config: settings of this process and its leader.
        facts: values that must be equal in all processes, by name.
        lost: called once with the reason if the leader is lost after `join`. Called on another thread, because the
            thread that runs the steps may be blocked in a device collective with the leader.
    """

    def __init__(self, config: MultihostConfig, facts: Mapping[str, str], lost: Callable[[str], None]) -> None:
        self.processes, self.process_id, self.timeout = config.processes, config.process_id, config.multihost_timeout
        self.distributed = ""  # host:port, known after `join`
        self._config, self._facts, self._lost = config, facts, lost
        self._outbox: queue.SimpleQueue[pb.FollowRequest | None] = queue.SimpleQueue()
        self._inbox: queue.SimpleQueue[pb.FollowResponse | MultihostError] = queue.SimpleQueue()
        self._joined = False
        self._channel = grpc.insecure_channel(config.address, options=options(config.heartbeat))

    def join(self) -> None:
        """Waits until all processes have joined.

        Raises:
            MultihostError: a process is late, the leader rejects this process, or the connection breaks.
        """
        call = multihost_pb2_grpc.MultihostServiceStub(self._channel).Follow(self._requests(), wait_for_ready=True)
        hello = pb.Hello(process_id=self.process_id, processes=self.processes, facts=self._facts)
        self._outbox.put(pb.FollowRequest(hello=hello))
        threading.Thread(target=self._read, args=(call,), name="jaxchat-multihost", daemon=True).start()
        late = f"not all processes joined {self._config.coordinator} within {self.timeout:g} s"
        begin = self._next("begin", late).begin
        self._joined = True
        self.distributed = f"{self._config.host}:{begin.distributed_port}"

    def agree(self, digests: Mapping[str, str]) -> None:
        """Sends the digests of this process's weights and programs to the leader, and waits for the leader's reply.

        Raises:
            MultihostError: the digests of a process differ, a process is late, or the leader is lost.
        """
        self._outbox.put(pb.FollowRequest(ready=pb.Ready(digests=digests)))
        self._next("agreed", f"the other processes had not loaded the model {self.timeout:g} s after this one")

    def steps(self) -> Iterator[MultihostStep]:
        """Yields the steps to run, until the leader ends the run. Raises MultihostError if the leader is lost."""
        while True:
            message = self._take(None)
            if message.HasField("end"):
                return
            yield decode(message.step)

    def leave(self) -> None:
        """Asks the leader to end the run once running answers are complete. Safe to call in a signal handler."""
        self._outbox.put(pb.FollowRequest(leaving=pb.Leaving()))

    def close(self) -> None:
        """Closes the connection to the leader."""
        self._outbox.put(None)
        self._channel.close()

    def _requests(self) -> Iterator[pb.FollowRequest]:
        while (message := self._outbox.get()) is not None:
            yield message

    def _read(self, call: Any) -> None:
        reason, expected = f"the leader at {self._config.coordinator} is gone", False
        try:
            for message in call:
                expected = message.WhichOneof("kind") in ("end", "refused")
                self._inbox.put(message)
        except grpc.RpcError as error:
            log.debug("the stream of the leader ended", exc_info=True)
            if error.code() == grpc.StatusCode.FAILED_PRECONDITION:
                reason = f"the leader refuses {error.details()}"
        if expected:
            return
        if self._joined:
            self._lost(reason)
        self._inbox.put(MultihostError(reason))

    def _next(self, kind: str, late: str) -> pb.FollowResponse:
        try:
            message = self._take(self.timeout)
        except queue.Empty:
            raise MultihostError(late) from None
        if message.WhichOneof("kind") != kind:
            raise MultihostError(f"the leader sent {message.WhichOneof('kind')} where {kind} was due")
        return message

    def _take(self, timeout: float | None) -> pb.FollowResponse:
        message = self._inbox.get(timeout=timeout)
        if isinstance(message, MultihostError):
            raise message
        if message.HasField("refused"):
            raise MultihostError(message.refused.reason)
        return message
