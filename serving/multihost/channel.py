"""gRPC options that leader and followers share."""

from __future__ import annotations


def options(heartbeat: float) -> list[tuple[str, int]]:
    """Returns gRPC options that make both ends of a connection ping each other.

    An end closes the connection if the other end has not answered for `heartbeat` seconds. gRPC's own threads answer
    pings, so a process that computes for long stays connected.
    """
    half = int(heartbeat * 500)
    return [
        ("grpc.keepalive_time_ms", half),
        ("grpc.keepalive_timeout_ms", half),  # if nothing was read since the ping; otherwise ping_timeout applies
        ("grpc.http2.ping_timeout_ms", half),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", half // 2),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_reconnect_backoff_ms", 1000),  # a follower may start long before its leader
        ("grpc.so_reuseport", 0),
    ]
