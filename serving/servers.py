"""Both servers on one asyncio loop: start, refuse, stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import TYPE_CHECKING

from jaxchat.config import ServeConfig
from serving.backend import ChatBackend
from serving.grpc_server import GrpcServer

if TYPE_CHECKING:
    import uvicorn


def stop_signal() -> asyncio.Event:
    """Is set by the first SIGINT or SIGTERM. A second one ends the process at once, as if this was not here."""
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
        self._config = config
        self._grpc: GrpcServer | None = None
        self._rest: uvicorn.Server | None = None
        self._rest_task: asyncio.Task[None] | None = None
        self.grpc_address = self.rest_address = ""

    async def start(self) -> None:
        """Listens on both. Raises OSError when an address is taken."""
        config = self._config
        if config.grpc_port >= 0:
            self._grpc = GrpcServer(
                self._backend, host=config.host, port=config.grpc_port, max_body=config.max_body
            )
            await self._grpc.start()
            self.grpc_address = _address(config.host, self._grpc.port)
        if config.rest_port >= 0:
            await self._start_rest()
        if self._grpc:
            await self._grpc.set_serving(self._backend.ready)

    async def _start_rest(self) -> None:
        import uvicorn  # the extra `rest`

        from serving.rest import create_app

        config = self._config
        app = create_app(
            self._backend, max_body=config.max_body, allow_unknown_fields=config.allow_unknown_fields
        )
        listener = _listen(config.host, config.rest_port)
        settings = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,  # running answers had their time in `drain`
        )
        self._rest = uvicorn.Server(settings)
        # Not `serve()`: that would take over the signal handlers.
        self._rest_task = asyncio.create_task(self._rest._serve([listener]))
        self.rest_address = _address(config.host, listener.getsockname()[1])

    async def refuse(self) -> None:
        """Tells health checks to go elsewhere; the backend refuses new requests itself."""
        if self._grpc:
            await self._grpc.set_serving(False)

    async def stop(self) -> None:
        """Closes both; calls that still run are cancelled."""
        if self._grpc:
            await self._grpc.stop(0)
        if self._rest and self._rest_task:
            self._rest.should_exit = True
            await self._rest_task

    def addresses(self) -> list[tuple[str, str]]:
        """For people to read."""
        pairs = (("gRPC", self.grpc_address), ("REST", self.rest_address and f"http://{self.rest_address}/v1"))
        return [(name, address) for name, address in pairs if address]


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen for REST on {_address(host, port)}: {error.strerror}") from None
    return listener


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
