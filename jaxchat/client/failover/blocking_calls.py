"""Calls over several replicas, for blocking callers in any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import grpc

from jaxchat.client.failover.asyncio_calls import Metadata
from jaxchat.client.failover.attempts import Attempts, FailoverPolicy, none_reached
from jaxchat.client.failover.replicas import ReplicaSet
from jaxchat.client.failover.resumable import OtherFingerprint, Resumable


class BlockingCalls:
    """Calls of the chat service over several replicas. A call whose replica is lost goes on at another replica.

    Usable from several threads.

    Args:
        replicas: the replicas, with channels of `grpc`.
        policy: limits of the attempts of a call.
    """

    def __init__(self, replicas: ReplicaSet, policy: FailoverPolicy) -> None:
        self.replicas = replicas
        self.policy = policy

    def unary(self, method: str, request: Any, *, timeout: float | None = None, metadata: Metadata = ()) -> Any:
        """Returns the answer of a method without streams, as `AsyncCalls.unary` does."""
        self.refresh()
        attempts = Attempts(self.replicas, timeout, self.policy)
        while True:
            replica = attempts.begin()
            try:
                call = getattr(replica.stub, method)
                answer = call(request, timeout=attempts.remaining, metadata=metadata)
                attempts.succeeded()
                return answer
            except grpc.RpcError as error:
                self.refresh(failed=True)
                pause = attempts.failed(error)
            finally:
                attempts.finish()
            time.sleep(pause)

    def stream(
        self, method: str, answer: Resumable, *, timeout: float | None = None, metadata: Metadata = ()
    ) -> BlockingStream:
        """Returns an iterator over the chunks of a streamed answer. Arguments and errors are those of `AsyncCalls`."""
        return BlockingStream(self, method, answer, timeout, metadata)

    def from_each(
        self, method: str, request: Any, *, timeout: float | None = None, metadata: Metadata = ()
    ) -> list[Any]:
        """Asks all replicas, one after the other, and returns their answers. Omits replicas that do not answer.

        Args:
            method: name of the method.
            request: the request.
            timeout: seconds for each replica; None means no limit.
            metadata: metadata of each call.

        Raises:
            ChatError: no replica answers.
        """
        self.refresh()
        answers, errors = [], list[grpc.RpcError]()
        for replica in self.replicas.all:
            try:
                answers.append(getattr(replica.stub, method)(request, timeout=timeout, metadata=metadata))
            except grpc.RpcError as error:
                errors.append(error)
        if not answers:
            raise none_reached(errors, self.policy)
        return answers

    def refresh(self, *, failed: bool = False) -> None:
        """Asks DNS for the addresses of named replicas, unless DNS was asked in the last 30 seconds.

        If a call has just `failed` or no address is known, the limit is 2 seconds instead of 30. After asking DNS,
        closes the channels of replicas that DNS no longer lists and that have no open call.
        """
        if not self.replicas.stale(failed=failed):
            return
        self.replicas.update(self.replicas.lookup())
        for replica in self.replicas.take_idle():
            replica.channel.close()

    def close(self) -> None:
        """Closes the channels of all replicas. Open calls fail."""
        for replica in self.replicas.take_all():
            replica.channel.close()


class BlockingStream:
    """The chunks of a streamed answer, in one thread. Another thread may close it."""

    def __init__(
        self, calls: BlockingCalls, method: str, answer: Resumable, timeout: float | None, metadata: Metadata
    ) -> None:
        """Prepares the call, which begins with the first chunk. The arguments are those of `BlockingCalls.stream`."""
        self._closed = threading.Event()
        self._rpc: Any = None
        self._parts = self._run(calls, method, answer, timeout, metadata)

    def __next__(self) -> Any:
        return next(self._parts)

    def close(self) -> None:
        """Cancels the call, if it has not ended."""
        self._closed.set()
        if self._rpc:
            self._rpc.cancel()
        with suppress(ValueError):  # another thread waits for a chunk, and gets an error
            self._parts.close()

    def _run(
        self, calls: BlockingCalls, method: str, answer: Resumable, timeout: float | None, metadata: Metadata
    ) -> Generator[Any]:
        calls.refresh()
        attempts = Attempts(calls.replicas, timeout, calls.policy)
        while True:
            replica = attempts.begin()
            try:
                call = getattr(replica.stub, method)
                self._rpc = call(answer.request(), timeout=attempts.remaining, metadata=metadata)
                if self._closed.is_set():  # before there was a call that `close` could cancel
                    self._rpc.cancel()
                for chunk in self._rpc:
                    if (part := answer.take(chunk)) is not None:
                        attempts.progressed()
                        yield part
                answer.end()
                return
            except grpc.RpcError as error:
                if answer.ended:
                    return
                if self._closed.is_set():
                    raise calls.policy.error(error) from None
                calls.refresh(failed=True)
                pause = attempts.failed(error)
            except OtherFingerprint as mismatch:
                pause = attempts.mismatched(mismatch)
            finally:
                if self._rpc:
                    self._rpc.cancel()
                attempts.finish()
            if self._closed.wait(pause):
                return
            answer.restart()
