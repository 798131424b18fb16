"""Servers with few slots and a short queue, and clients that disconnect."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

from jaxchat import v1
from jaxchat.client import Client
from jaxchat.client.local import LocalTransport
from jaxchat.config import ChatConfig
from tests.contract.echo import EchoRunner, echo_session
from tests.contract.place import PATIENCE, Place

CHAT = "/v1/chat/completions"
LONG = "x" * 1500


@contextlib.contextmanager
def small_place(slots: int = 1, queue: int = 1, **limits: float) -> Iterator[tuple[Place, EchoRunner]]:
    """Yields servers for a separate echo session, and its runner.

    Args:
        slots: number of slots.
        queue: maximum number of waiting sequences.
        limits: fields of `ChatConfig`.
    """
    session, runner = echo_session(slots=slots, queue=queue, chat=ChatConfig(**limits))
    with Client(LocalTransport(session)) as client, Place(client) as place:
        yield place, runner
        runner.gate.set()


def message_fields(text: str) -> dict:
    return {"messages": [{"role": "user", "content": text}]}


def chat_request(text: str) -> v1.ChatCompletionRequest:
    return v1.ChatCompletionRequest(model="echo", messages=[v1.ChatMessage(role=v1.ROLE_USER, text=text)])


class AbandonedRequest:
    """A request over REST or gRPC whose answer is not read. `disconnect` ends it without notice.

    Args:
        place: the servers.
        how: "stub", "stub stream", "openai" or "openai stream".
        text: the user's message.
    """

    def __init__(self, place: Place, how: str, text: str) -> None:
        if how.startswith("stub"):
            call = (
                place.stub.Stream(chat_request(text))
                if how == "stub stream"
                else place.stub.Complete.future(chat_request(text))
            )
            self.disconnect = call.cancel
        else:
            connection = send_post(
                place, json.dumps({"model": "echo", **message_fields(text), "stream": how.endswith("stream")})
            )
            self.disconnect = connection.close


def send_post(place: Place, body: str) -> socket.socket:
    host, _, port = place.rest.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE)
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    connection.sendall((head + body).encode())
    return connection


def wait_until_forgotten(place: Place, others: int = 0) -> None:
    """Waits until the session has noticed the disconnect and has only `others` other requests."""
    place.wait_until(lambda: len(place.session.generations.running) == others)
