"""Opens the channels of replicas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import grpc

from jaxchat.client.failover.replicas import Open, Replica
from jaxchat.client.failover.targets import Address
from jaxchat.v1.service_pb2_grpc import ChatServiceStub

Options = Sequence[tuple[str, int | str]]

CHANNEL_OPTIONS: Options = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", -1),  # the limit is a setting of the server
)
FAILOVER_OPTIONS: Options = (
    *CHANNEL_OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 3_000),  # also the limit of one attempt to connect
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.keepalive_time_ms", 20_000),  # detects a machine that vanished without closing the connection
    ("grpc.keepalive_timeout_ms", 10_000),
)


def opener(
    channels: Any,
    credentials: grpc.ChannelCredentials | None,
    options: Options,
    name: Callable[[Address, int], str] = lambda address, number: f"replica {address.target}",
    *,
    watched: bool = False,
) -> Open:
    """Returns a function that opens the replica at an address.

    Args:
        channels: the module `grpc` or `grpc.aio`.
        credentials: credentials of the connection; None means that it is not encrypted.
        options: options of the channel.
        name: returns the name of a replica in errors, given the address and the number of the replica.
        watched: whether the caller watches health checks. Replicas then count as not serving until a check succeeds.
    """

    def open_replica(address: Address, number: int) -> Replica:
        extra: list[tuple[str, int | str]] = list(options)
        if address.authority is not None:
            extra.append(("grpc.default_authority", address.authority))
            if credentials is not None:
                host = address.authority.rpartition(":")[0].strip("[]")
                extra.append(("grpc.ssl_target_name_override", host))
        if credentials is None:
            channel = channels.insecure_channel(address.target, options=extra)
        else:
            channel = channels.secure_channel(address.target, credentials, options=extra)
        stub = ChatServiceStub(channel)  # type: ignore[no-untyped-call]
        return Replica(name(address, number), channel, stub, serving=not watched)

    return open_replica
