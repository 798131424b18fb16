"""Runs an ASGI application on a socket, on an asyncio loop that other servers share."""

from __future__ import annotations

import asyncio
import contextlib

import uvicorn
from starlette.types import ASGIApp

from serving.addresses import listen
from serving.tls import ServerTls


class _Server(uvicorn.Server):
    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        return contextlib.nullcontext()  # signals belong to the command line


class RestServer:
    """An HTTP server for one application. `port` is known after `start`.

    Args:
        app: the application.
        host: address to listen on.
        port: port to listen on. 0 picks a free one.
        tls: certificate and key. None means that connections are not encrypted.
        flag: the flag that sets the port, for errors.
    """

    def __init__(self, app: ASGIApp, *, host: str, port: int, tls: ServerTls | None = None, flag: str = "--rest-port"):
        self.host, self.port, self._flag = host, port, flag
        self.scheme = "https" if tls else "http"
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            ssl_certfile=tls.cert_file if tls else None,
            ssl_keyfile=tls.key_file if tls else None,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts to listen. Raises OSError if the address is taken."""
        listener = listen(self.host, self.port, self._flag)
        self.port = listener.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve([listener]))

    async def stop(self, shutdown_grace: float) -> None:
        """Stops accepting connections. Cancels open requests after `shutdown_grace` seconds."""
        if self._task:
            self._server.config.timeout_graceful_shutdown = shutdown_grace  # type: ignore[assignment]  # a float works: it is only a timeout
            self._server.should_exit = True
            await self._task
