"""Both servers on one asyncio loop: start, refuse, stop."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from jaxchat.config import ServeConfig
from serving.backend import ChatBackend
from serving.grpc_server import GrpcServer

if TYPE_CHECKING:
    from serving.rest.server import RestServer


def stop_signal() -> asyncio.Event:
    """Is set by the first SIGINT or SIGTERM. A second one of the same kind ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def first(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, first, number)
    return stop


class Servers:
    """The front doors that `config` asks for, before one backend."""

    def __init__(self, backend: ChatBackend, config: ServeConfig):
        self._backend = backend
        self._grpc: GrpcServer | None = None
        self._rest: RestServer | None = None
        if config.grpc_port >= 0:
            self._grpc = GrpcServer(backend, host=config.host, port=config.grpc_port, max_body=config.max_body)
        if config.rest_port >= 0:
            self._rest = _rest_server(backend, config)

    async def start(self) -> None:
        """Listens on both. Raises OSError when an address is taken."""
        if self._grpc:
            await self._grpc.start()
        if self._rest:
            await self._rest.start()
        if self._grpc:
            await self._grpc.set_serving(self._backend.ready)

    async def refuse(self) -> None:
        """Tells health checks to go elsewhere; the backend refuses new requests itself."""
        if self._grpc:
            await self._grpc.set_serving(False)

    async def stop(self) -> None:
        """Closes both; calls that still run are cancelled."""
        if self._grpc:
            await self._grpc.stop(0)
        if self._rest:
            await self._rest.stop()

    @property
    def grpc_address(self) -> str:
        """`host:port`, empty when gRPC is off."""
        return _address(self._grpc) if self._grpc else ""

    @property
    def rest_address(self) -> str:
        """`host:port`, empty when REST is off."""
        return _address(self._rest) if self._rest else ""


def _rest_server(backend: ChatBackend, config: ServeConfig) -> RestServer:
    from serving.rest import create_app  # the extra `rest`
    from serving.rest.server import RestServer

    app = create_app(backend, max_body=config.max_body, allow_unknown_fields=config.allow_unknown_fields)
    return RestServer(app, host=config.host, port=config.rest_port)


def _address(server: GrpcServer | RestServer) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port}"
