"""Real servers on free loopback ports before the fake session, in a loop on a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from jaxchat.config import ServeConfig
from serving.servers import Servers
from tests.serving.fake_session import FakeSession


class Running:
    """Servers that run; `wait` runs a coroutine on their loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.session = FakeSession()
        self.servers: Servers = self.wait(self._start())

    async def _start(self) -> Servers:
        servers = Servers(self.session, ServeConfig(grpc_port=0, rest_port=0, max_body=100_000))
        await self.session.start()
        await servers.start()
        return servers

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(5)

    @property
    def grpc(self) -> str:
        return self.servers.grpc_address

    @property
    def rest(self) -> str:
        return f"http://{self.servers.rest_address}"

    def stop(self) -> None:
        self.wait(self.servers.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture(scope="module")
def module_server() -> Iterator[Running]:
    running = Running()
    yield running
    running.stop()


@pytest.fixture
def server(module_server: Running) -> Iterator[Running]:
    """One server for a whole file; every test leaves it idle."""
    yield module_server
    module_server.wait(module_server.session.until_running(0))
