"""Real servers on free loopback ports before a session, with clients for every front door."""

from __future__ import annotations

import time
from types import TracebackType

import grpc
import httpx
import openai

from jaxchat.api import Chat
from jaxchat.client import Client
from jaxchat.v1.service_pb2_grpc import ChatServiceStub
from serving.config import ServeConfig
from serving.servers import Servers
from tests.contract.doors import Door

MAX_BODY = 200_000
PATIENCE = 20.0  # seconds after which something is said to hang


async def _served(chat: Chat, **settings: str) -> Servers:
    servers = Servers(chat.session, ServeConfig(grpc_port=0, rest_port=0, max_body=MAX_BODY, **settings))
    await servers.start()
    return servers


class Place:
    """Servers with `settings` on the loop of `chat`, which is left running at the end."""

    def __init__(self, chat: Chat, **settings: str) -> None:
        self.chat = chat
        self.servers = chat._run(_served(chat, **settings))
        self.rest, self.grpc = f"http://{self.servers.rest_address}", self.servers.grpc_address
        self.model = chat.session.model_id
        self.http = httpx.Client(base_url=self.rest, trust_env=False, timeout=PATIENCE)
        self.openai = openai.OpenAI(
            base_url=f"{self.rest}/v1",
            api_key="none",
            max_retries=0,
            timeout=PATIENCE,
            _strict_response_validation=True,
        )
        self.client = Client(self.grpc, timeout=PATIENCE)
        self._channel = grpc.insecure_channel(self.grpc)
        self.stub = ChatServiceStub(self._channel)

    def door(self, name: str) -> Door:
        return Door(name, self.openai, self.client, self.stub, self.model)

    @property
    def load(self) -> tuple[int, int, int]:
        """Sequences that wait, sequences that run, pages in use."""
        stats = self.chat.session.stats
        return stats.waiting, stats.running, stats.pages_in_use

    def until(self, waiting: int, running: int) -> None:
        """Waits until so many sequences wait and run."""
        self._until(lambda: self.load[:2] == (waiting, running))

    def until_idle(self) -> None:
        """Waits until queue, slots and pages are all free, and nobody is in between."""
        self._until(lambda: self.load == (0, 0, 0) and not self.chat.session._running)

    def _until(self, reached) -> None:
        end = time.monotonic() + PATIENCE
        while not reached():
            assert time.monotonic() < end, f"waiting, running, pages: {self.load}"
            time.sleep(0.001)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.http.close()
        self.openai.close()
        self.client.__exit__(None, None, None)
        self._channel.close()
        self.chat._run(self.servers.stop())
