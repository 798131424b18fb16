"""Clients that ping an idle connection keep it, and those that ping too often lose it, shown by frames of HTTP/2."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from serving.grpc.server import GrpcServer
from tests.serving.fake_session import FakeSession

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
ACK = 1
LEAST_MS = 100


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server that allows a ping each 100 ms."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> GrpcServer:
        server = GrpcServer(FakeSession(), host="127.0.0.1", port=0, max_body=1000, least_ping_ms=LEAST_MS)
        await server.start()
        return server

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    yield server.port
    asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def frame(kind: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + bytes(4) + payload


def frames(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Kind, flags and payload of each whole frame."""
    while len(data) >= 9 and len(data) >= (end := 9 + int.from_bytes(data[:3])):
        yield data[3], data[4], data[9:end]
        data = data[end:]


def pinged(port: int, count: int, gap: float) -> list[tuple[int, int, bytes]]:
    """What the server says on an idle connection to `count` pings, `gap` seconds apart."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(PREFACE + frame(SETTINGS))
        with suppress(ConnectionError):
            for number in range(count):
                time.sleep(gap)
                connection.sendall(frame(PING, struct.pack(">Q", number + 1)))
        connection.settimeout(0.3)
        with suppress(TimeoutError, ConnectionResetError):
            while part := connection.recv(4096):
                received += part
    return list(frames(received))


def test_an_idle_client_may_ping(port: int) -> None:
    said = pinged(port, 6, 1.5 * LEAST_MS / 1000)
    assert GOAWAY not in [kind for kind, _, _ in said]
    answers = [payload for kind, flags, payload in said if kind == PING and flags & ACK]
    assert answers == [struct.pack(">Q", number + 1) for number in range(6)]


def test_one_that_pings_too_often_is_closed(port: int) -> None:
    (reason,) = [payload for kind, _, payload in pinged(port, 12, 0.005) if kind == GOAWAY][-1:]
    assert b"too_many_pings" in reason
