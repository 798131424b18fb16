"""What both ends of the stream between leader and followers share."""

from __future__ import annotations


def options(heartbeat: float) -> list[tuple[str, int]]:
    """gRPC options by which each end pings the other, and gives it up `heartbeat` seconds after its last answer.

    The answers come from gRPC's own threads, so a process that only computes for long stays alive.
    """
    half = int(heartbeat * 500)
    return [
        ("grpc.keepalive_time_ms", half),
        ("grpc.keepalive_timeout_ms", half),  # counts where nothing was to be read since; the next one else
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
