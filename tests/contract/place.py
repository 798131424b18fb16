"""Real servers on free loopback ports for one session, with clients for every front door."""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Any

import grpc
import httpx
import openai

from jaxchat.chat.session import ChatSession
from jaxchat.client import AsyncClient, Client
from jaxchat.client.local import AsyncLocalTransport
from jaxchat.v1.service_pb2_grpc import ChatServiceStub
from serving.config import ServeConfig
from serving.servers import Servers
from tests.contract.doors import Door

MAX_BODY = 200_000
PATIENCE = 20.0  # seconds after which something is said to hang


async def _start_servers(session: ChatSession, **settings: str) -> Servers:
    servers = Servers(session, ServeConfig(grpc_port=0, rest_port=0, max_body=MAX_BODY, **settings))
    await servers.start()
    return servers


class Place:
    """Servers for the session of an in-process client, which stays open at the end.

    Args:
        in_process: the client, on whose asyncio loop the servers run.
        settings: fields of `ServeConfig`.
    """

    def __init__(self, in_process: Client, **settings: str) -> None:
        self.in_process, self.session = in_process, in_process.transport.session
        self.servers = in_process.transport.run(_start_servers(self.session, **settings))
        self.rest, self.grpc = f"http://{self.servers.rest_address}", self.servers.grpc_address
        self.model = self.session.model_id
        self.http = httpx.Client(base_url=self.rest, trust_env=False, timeout=PATIENCE)
        self.openai = openai.OpenAI(
            base_url=f"{self.rest}/v1",
            api_key="none",
            max_retries=0,
            timeout=PATIENCE,
            _strict_response_validation=True,
        )
        self.client = Client(self.grpc, timeout=PATIENCE)
        self.asynchronous = AsyncClient(AsyncLocalTransport(self.session))
        self._channel = grpc.insecure_channel(self.grpc)
        self.stub = ChatServiceStub(self._channel)

    def choices(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """Posts a request. Returns the choices of the answer, or those of all chunks if it is streamed."""
        reply = self.http.post(path, json=body)
        assert reply.status_code == 200, reply.text
        if not body.get("stream"):
            return reply.json()["choices"]
        lines = [line[6:] for line in reply.text.split("\n\n") if line.startswith("data: {")]
        return [choice for line in lines for choice in json.loads(line)["choices"]]

    def door(self, name: str) -> Door:
        return Door(name, self)

    @property
    def load(self) -> tuple[int, int, int]:
        """The numbers of waiting sequences, running sequences, and pages in use."""
        stats = self.session.stats
        return stats.waiting, stats.running, stats.pages_in_use

    def wait_for_load(self, waiting: int, running: int) -> None:
        """Waits until `waiting` sequences wait and `running` sequences run."""
        self.wait_until(lambda: self.load[:2] == (waiting, running))

    def wait_until_idle(self) -> None:
        """Waits until queue, slots and pages are free and the session has no request."""
        self.wait_until(lambda: self.load == (0, 0, 0) and not self.session.generations.running)

    def wait_until(self, reached) -> None:
        end = time.monotonic() + PATIENCE
        while not reached():
            assert time.monotonic() < end, f"waiting, running, pages: {self.load}"
            time.sleep(0.001)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.http.close()
        self.openai.close()
        self.client.close()
        self._channel.close()
        self.in_process.transport.run(self.servers.stop())
