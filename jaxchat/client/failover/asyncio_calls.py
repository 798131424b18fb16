"""Calls over several replicas, for one asyncio loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc

from jaxchat.client.failover.attempts import Attempts, FailoverPolicy, none_reached
from jaxchat.client.failover.replicas import ReplicaSet
from jaxchat.client.failover.resumable import OtherFingerprint, Resumable

Metadata = tuple[tuple[str, str], ...]


class AsyncCalls:
    """Calls of the chat service over several replicas. A call whose replica is lost goes on at another replica.

    Args:
        replicas: the replicas, with channels of `grpc.aio`.
        policy: limits of the attempts of a call.
    """

    def __init__(self, replicas: ReplicaSet, policy: FailoverPolicy) -> None:
        self.replicas = replicas
        self.policy = policy

    async def unary(self, method: str, request: Any, *, timeout: float | None = None, metadata: Metadata = ()) -> Any:
        """Returns the answer of a method without streams. If a replica is lost, sends the request to another replica.

        Args:
            method: name of the method, such as `Complete`.
            request: the request. Equal requests must have equal answers.
            timeout: seconds for all attempts together; None means no limit.
            metadata: metadata of the call.

        Raises:
            ChatError: the call fails, or no replica answers it.
        """
        await self.refresh()
        attempts = Attempts(self.replicas, timeout, self.policy)
        while True:
            replica = attempts.begin()
            try:
                call = getattr(replica.stub, method)
                answer = await call(request, timeout=attempts.remaining, metadata=metadata)
                attempts.succeeded()
                return answer
            except grpc.RpcError as error:
                await self.refresh(failed=True)
                pause = attempts.failed(error)
            finally:
                attempts.finish()
            await asyncio.sleep(pause)

    async def stream(
        self, method: str, answer: Resumable, *, timeout: float | None = None, metadata: Metadata = ()
    ) -> AsyncGenerator[Any, None]:
        """Yields the chunks of a method with a streamed answer. Closing the generator cancels the call.

        Args:
            method: name of the method, such as `Stream`.
            answer: makes the request of each attempt, and removes from the chunks what was delivered before.
            timeout: seconds for all attempts together; None means no limit.
            metadata: metadata of the call.

        Raises:
            ChatError: the answer fails, or no replica can go on with it.
        """
        await self.refresh()
        attempts = Attempts(self.replicas, timeout, self.policy)
        while True:
            replica, rpc = attempts.begin(), None
            try:
                rpc = getattr(replica.stub, method)(answer.request(), timeout=attempts.remaining, metadata=metadata)
                async for chunk in rpc:
                    if (part := answer.take(chunk)) is not None:
                        attempts.progressed()
                        yield part
                answer.end()
                return
            except grpc.RpcError as error:
                if answer.ended:
                    return
                await self.refresh(failed=True)
                pause = attempts.failed(error)
            except OtherFingerprint as mismatch:
                pause = attempts.mismatched(mismatch)
            finally:
                if rpc is not None:
                    rpc.cancel()  # a no-op once the call has ended
                attempts.finish()
            await asyncio.sleep(pause)
            answer.restart()

    async def from_each(
        self, method: str, request: Any, *, timeout: float | None = None, metadata: Metadata = ()
    ) -> list[Any]:
        """Asks all replicas that serve, concurrently, and returns their answers.

        If no replica serves, asks all replicas. Omits replicas that do not answer.

        Args:
            method: name of the method.
            request: the request.
            timeout: seconds for each replica; None means no limit.
            metadata: metadata of each call.

        Raises:
            ChatError: no replica answers.
        """
        await self.refresh()
        replicas = [replica for replica in self.replicas.all if replica.serving] or self.replicas.all

        async def ask(stub: Any) -> Any:
            try:
                return await getattr(stub, method)(request, timeout=timeout, metadata=metadata)
            except grpc.RpcError as error:
                return error

        results = await asyncio.gather(*(ask(replica.stub) for replica in replicas))
        answers = [result for result in results if not isinstance(result, grpc.RpcError)]
        if not answers:
            raise none_reached(results, self.policy)
        return answers

    async def refresh(self, *, failed: bool = False) -> None:
        """Asks DNS for the addresses of named replicas, unless DNS was asked in the last 30 seconds.

        If a call has just `failed` or no address is known, the limit is 2 seconds instead of 30. After asking DNS,
        closes the channels of replicas that DNS no longer lists and that have no open call.
        """
        if not self.replicas.stale(failed=failed):
            return
        self.replicas.update(await asyncio.to_thread(self.replicas.lookup))
        for replica in self.replicas.take_idle():
            await replica.channel.close()

    async def close(self) -> None:
        """Closes the channels of all replicas. Open calls fail."""
        for replica in self.replicas.take_all():
            await replica.channel.close()
