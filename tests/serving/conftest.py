"""Real servers on free loopback ports for the fake session, on an asyncio loop in a separate thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from jaxchat.client import Client
from jaxchat.client.local import LocalTransport
from serving.auth import read_keys
from serving.config import BackendConfig, RestConfig, ServeConfig
from serving.observability.metrics import Metrics
from serving.remote_backend import RemoteBackend
from serving.servers import Servers, rest_server, url
from serving.tls import server_tls
from tests.contract.echo import EchoRunner, echo_session
from tests.contract.place import Place
from tests.serving.certificates import Certificates
from tests.serving.fake_session import FakeSession

SMALL: dict[str, Any] = dict(rest_port=0, max_body=100_000)
PATIENCE = 10  # seconds until a test gives up on what should happen at once


class Running:
    """Running servers. `wait` runs a coroutine on their loop.

    Args:
        config: fields of `ServeConfig` that replace the defaults of tests.
    """

    def __init__(self, **config: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.session = FakeSession()
        self.metrics = Metrics([self.session])
        self.servers: Servers = self.wait(self._start(ServeConfig(**SMALL, grpc_port=0, **config)))

    async def _start(self, config: ServeConfig) -> Servers:
        servers = Servers(self.session, config, self.metrics)
        await self.session.start()
        await servers.start()
        return servers

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    @property
    def grpc(self) -> str:
        return self.servers.grpc_address

    @property
    def rest(self) -> str:
        return self.servers.rest_url

    def set_ready(self, ready: bool) -> None:
        """Sets whether the session is ready, and what health checks report."""
        self.session.ready = ready
        self.wait(self.servers._grpc.set_serving(ready))

    def stop(self) -> None:
        self.wait(self.servers.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Behind(Running):
    """Running servers, and a REST server that reaches their session over gRPC.

    Args:
        front: fields of the REST server's `RestConfig`.
        backend: fields of its `BackendConfig`.
        config: fields of `ServeConfig` that replace the defaults of tests.
    """

    def __init__(
        self, *, front: dict[str, Any] | None = None, backend: dict[str, Any] | None = None, **config: Any
    ) -> None:
        super().__init__(**config)
        target = BackendConfig(**{"backend": self.grpc} | (backend or {}))
        self.wait(self._start_front(target, RestConfig(**SMALL, **(front or {}))))

    async def _start_front(self, target: BackendConfig, config: RestConfig) -> None:
        tls = server_tls(config.tls_cert, config.tls_key)
        self.remote = RemoteBackend(target)
        self.front = rest_server(self.remote, config, read_keys(config.api_keys), tls)
        await self.remote.start()
        await self.front.start()
        await asyncio.wait_for(self.remote.until_ready(), PATIENCE)

    @property
    def rest(self) -> str:
        return url(self.front)

    def set_ready(self, ready: bool) -> None:
        super().set_ready(ready)
        self.wait(self.remote.until_ready(ready))

    def stop(self) -> None:
        self.wait(self.front.stop(0))
        self.wait(self.remote.close())
        super().stop()


@pytest.fixture(scope="module")
def module_server() -> Iterator[Running]:
    running = Running()
    yield running
    running.stop()


@pytest.fixture
def server(module_server: Running) -> Iterator[Running]:
    """Yields one server for a whole file. Checks that each test leaves it idle."""
    yield module_server
    module_server.wait(module_server.session.until_running(0))


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    """Yields a function that starts servers with the given settings, such as `run(api_keys=...)` or `run(kind=Behind,
    ...)`.
    """
    started: list[Running] = []

    def start(kind: type[Running] = Running, **settings: Any) -> Running:
        started.append(kind(**settings))
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Yields a function that starts a browser with a fresh profile."""
    from tests.serving.browser import Browser

    browsers: list[Browser] = []

    def make(**size: int) -> Browser:
        browsers.append(Browser(tmp_path / f"profile{len(browsers)}", **size))
        return browsers[-1]

    yield make
    complaints = [complaint for browser in browsers for complaint in browser.complaints()]
    for browser in browsers:
        browser.close()
    assert [text for text in complaints if "status of 4" not in text] == []


@pytest.fixture(scope="module")
def tiny_place(tiny_client: Client) -> Iterator[Place]:
    with Place(tiny_client) as place:
        yield place


@pytest.fixture(scope="module")
def echo() -> Iterator[tuple[Place, EchoRunner]]:
    session, runner = echo_session()
    with Client(LocalTransport(session)) as client, Place(client) as place:
        yield place, runner
