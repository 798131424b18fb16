"""The leader's connections: admits followers, compares all processes, streams steps, detects a lost follower."""

from __future__ import annotations

import ipaddress
import logging
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc

from jaxchat.errors import MultihostError
from jaxchat.multihost.v1 import multihost_pb2 as pb
from jaxchat.multihost.v1 import multihost_pb2_grpc
from jaxchat.types import MultihostStep
from serving.config import MultihostConfig
from serving.multihost.channel import options
from serving.multihost.codec import encode
from serving.multihost.handshake import difference, rejection_reason

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Follower:
    process_id: int
    outbox: queue.SimpleQueue[pb.FollowResponse | None] = field(default_factory=queue.SimpleQueue)
    digests: dict[str, str] | None = None


class Leader(multihost_pb2_grpc.MultihostServiceServicer):
    """An implementation of `jaxchat.types.MultihostLeader`. The constructor starts to listen.

    Args:
        config: settings of this process and its followers.
        facts: values that must be equal in all processes, by name.
        lost: called once with the reason, on another thread, if a process is lost or hangs after all have joined.

    Raises:
        OSError: the address cannot be used, for example because it is taken.
    """

    process_id = 0

    def __init__(self, config: MultihostConfig, facts: Mapping[str, str], lost: Callable[[str], None]) -> None:
        self.processes, self.timeout = config.processes, config.multihost_timeout
        self.distributed = f"127.0.0.1:{config.distributed_port or _free_port()}"
        self._config, self._facts = config, facts
        self.lost = lost
        self.leaving: Callable[[], object] | None = None  # while it is None, a leaving follower counts as lost
        self._followers: dict[int, _Follower] = {}
        self._changed = threading.Condition()
        self._complete = False
        self._failure = ""
        self._ended = threading.Event()
        # Each follower occupies one thread while it lives. The spare threads reject followers that do not match.
        pool = ThreadPoolExecutor(config.processes + 4, thread_name_prefix="jaxchat-multihost")
        self._server = grpc.server(pool, options=options(config.heartbeat))
        multihost_pb2_grpc.add_MultihostServiceServicer_to_server(self, self._server)
        _listen(self._server, config)

    def gather(self) -> None:
        """Waits until all followers have joined.

        Raises:
            MultihostError: a follower has not joined in time. The message names the late followers.
        """
        with self._changed:
            complete = self._changed.wait_for(lambda: len(self._followers) == self.processes - 1, self.timeout)
            if not complete:
                missing = ", ".join(str(i) for i in range(1, self.processes) if i not in self._followers)
                raise MultihostError(f"of {self.processes} processes, {missing} did not join within {self.timeout:g} s")
            self._complete = True
        port = int(self.distributed.rpartition(":")[2])
        self._broadcast(pb.FollowResponse(begin=pb.Begin(distributed_port=port)))

    def agree(self, digests: Mapping[str, str]) -> None:
        """Waits for the digests of all followers, compares them with `digests`, and sends the result to all followers.

        Raises:
            MultihostError: the digests of a follower differ, or a follower is late or lost.
        """
        with self._changed:
            followers = self._followers.values()
            self._changed.wait_for(lambda: self._failure or all(f.digests for f in followers), self.timeout)
            late = ", ".join(str(f.process_id) for f in followers if not f.digests)
            differences = [difference(f"process {f.process_id}", f.digests or digests, digests) for f in followers]
        reason = self._failure or "; ".join(filter(None, differences))
        if not reason and late:
            reason = f"processes {late} had not loaded the model {self.timeout:g} s after the leader"
        if reason:
            self._broadcast(pb.FollowResponse(refused=pb.Refused(reason=reason)))
            raise MultihostError(reason)
        self._broadcast(pb.FollowResponse(agreed=pb.Agreed()))

    def send(self, step: MultihostStep) -> None:
        """Sends a step to all followers. Returns at once."""
        self._broadcast(pb.FollowResponse(step=encode(step)))

    def watch(self, stuck: Callable[[], float]) -> None:
        """Starts a watchdog that treats a step of more than `step_timeout` seconds as the loss of a process.

        A process may hang although its connection is open.

        Args:
            stuck: returns the seconds for which the oldest unfinished step has run.
        """
        limit = self._config.step_timeout

        def run() -> None:
            while not self._ended.wait(min(limit / 4, 1.0)):
                if (seconds := stuck()) > limit:
                    self._lose(f"a step has not finished for {seconds:.0f} s")

        threading.Thread(target=run, name="jaxchat-watchdog", daemon=True).start()

    def end(self) -> None:
        """Tells the followers that the last step was sent."""
        self._ended.set()
        self._broadcast(pb.FollowResponse(end=pb.End()))

    def close(self) -> None:
        """Stops listening, and gives followers at most a second to read pending messages."""
        self._ended.set()
        for follower in list(self._followers.values()):
            follower.outbox.put(None)
        self._server.stop(1.0).wait()

    def Follow(self, request_iterator: Iterator[pb.FollowRequest], context: Any) -> Iterator[pb.FollowResponse]:
        follower = self._admit(next(request_iterator).hello, context)
        threading.Thread(target=self._listen_to, args=(follower, request_iterator), daemon=True).start()
        while (message := follower.outbox.get()) is not None:
            yield message

    def _admit(self, hello: pb.Hello, context: grpc.ServicerContext) -> _Follower:
        with self._changed:
            reason = rejection_reason(hello, self._config, self._facts, self._followers)
            if reason:
                log.warning("rejected %s", reason)
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, reason)
            follower = _Follower(hello.process_id)
            if not context.add_callback(lambda: self._on_disconnect(follower)):
                context.abort(grpc.StatusCode.CANCELLED, "disconnected already")
            self._followers[hello.process_id] = follower
            self._changed.notify_all()
        return follower

    def _listen_to(self, follower: _Follower, requests: Iterator[pb.FollowRequest]) -> None:
        try:
            for message in requests:
                if message.WhichOneof("kind") == "ready":
                    with self._changed:
                        follower.digests = dict(message.ready.digests)
                        self._changed.notify_all()
                elif message.WhichOneof("kind") == "leaving":
                    self._on_leaving(follower)
        except Exception:  # the stream has ended, which `_on_disconnect` handles
            log.debug("the stream of process %d ended", follower.process_id, exc_info=True)

    def _on_leaving(self, follower: _Follower) -> None:
        reason = f"process {follower.process_id} was asked to stop"
        if self.leaving:
            log.warning(reason)
            self.leaving()
        else:
            self._lose(reason)

    def _on_disconnect(self, follower: _Follower) -> None:
        follower.outbox.put(None)
        with self._changed:
            if not self._complete:
                del self._followers[follower.process_id]  # it may join again
                return
        self._lose(f"process {follower.process_id} is gone")

    def _lose(self, reason: str) -> None:
        with self._changed:
            if self._failure or self._ended.is_set():
                return
            self._failure = reason
            self._changed.notify_all()
        self.lost(reason)

    def _broadcast(self, message: pb.FollowResponse) -> None:
        for follower in list(self._followers.values()):
            follower.outbox.put(message)


def _listen(server: grpc.Server, config: MultihostConfig) -> None:
    """Starts the server on the coordinator's address if that is an IP address or "localhost".

    For another host name, the server listens on all addresses.

    Raises:
        OSError: the server cannot listen there, for example because the port is taken.
    """
    host = config.host if _is_address(config.host) else "[::]"
    try:
        server.add_insecure_port(f"{host}:{config.port}")
    except RuntimeError as error:
        raise OSError(f"cannot listen for followers on {host}:{config.port}: {error}") from None
    server.start()


def _is_address(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
    return port
