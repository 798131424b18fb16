"""Starts and stops all servers of a process on one asyncio loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from serving.addresses import check_free
from serving.auth import ApiKeys, read_keys
from serving.backend import ChatBackend
from serving.config import RestConfig, ServeConfig
from serving.grpc.server import GrpcServer
from serving.tls import ServerTls, server_tls

if TYPE_CHECKING:
    from serving.observability.metrics import Metrics
    from serving.rest.server import RestServer


class Servers:
    """The servers that `config` switches on, all for one backend.

    Args:
        backend: the service that answers the requests.
        config: settings of the servers.
        metrics: the source of the metrics page; None omits the page.

    Raises:
        ValueError: the file of API keys or a TLS file is unusable. The message names flag and file.
    """

    def __init__(self, backend: ChatBackend, config: ServeConfig, metrics: Metrics | None = None):
        self._backend = backend
        self._grpc: GrpcServer | None = None
        self._rest: RestServer | None = None
        self._metrics: RestServer | None = None
        keys, tls = read_keys(config.api_keys), server_tls(config.tls_cert, config.tls_key, config.tls_client_ca)
        if config.grpc_port is not None:
            self._grpc = GrpcServer(
                backend, host=config.host, port=config.grpc_port, max_body=config.max_body, keys=keys, tls=tls
            )
        if config.rest_port is not None:
            shown = metrics if config.metrics_port is None else None
            self._rest = rest_server(backend, config, keys, tls, shown)
        if metrics and config.metrics_port is not None:
            self._metrics = _metrics_server(metrics, config.host, config.metrics_port, tls)

    async def start(self) -> None:
        """Starts to listen on all ports. Raises OSError if an address is taken."""
        if self._grpc:
            await self._grpc.start()
        for http in (self._rest, self._metrics):
            if http:
                await http.start()
        if self._grpc:
            await self._grpc.set_serving(self._backend.ready)

    async def refuse(self) -> None:
        """Makes gRPC health checks report NOT_SERVING. The backend itself rejects new requests."""
        if self._grpc:
            await self._grpc.set_serving(False)

    async def stop(self, shutdown_grace: float = 0.0) -> None:
        """Waits at most `shutdown_grace` seconds for open calls, then cancels them and closes all servers."""
        servers = [server for server in (self._grpc, self._rest, self._metrics) if server]
        await asyncio.gather(*(server.stop(shutdown_grace) for server in servers))

    @property
    def grpc_address(self) -> str:
        """`host:port` of the gRPC server, or "" if gRPC is off."""
        return _address(self._grpc) if self._grpc else ""

    @property
    def rest_address(self) -> str:
        """`host:port` of the REST server, or "" if REST is off."""
        return _address(self._rest) if self._rest else ""

    @property
    def rest_url(self) -> str:
        """`http://host:port` or `https://host:port` of the REST server, or "" if REST is off."""
        return url(self._rest) if self._rest else ""

    @property
    def metrics_url(self) -> str:
        """URL of the metrics page if it has a separate port, otherwise ""."""
        return f"{url(self._metrics)}/metrics" if self._metrics else ""


def check_addresses(config: ServeConfig) -> None:
    """Checks that all ports of `config` are free, before a model is loaded.

    Raises:
        OSError: a port is taken, or the address cannot be used. The message names the flag that sets the port.
        ValueError: two servers would have the same port.
    """
    ports = {"--grpc-port": config.grpc_port, "--rest-port": config.rest_port, "--metrics-port": config.metrics_port}
    flags: dict[int, str] = {}
    for flag, port in ports.items():
        if port is None:
            continue
        if port in flags:
            raise ValueError(f"{flags[port]} and {flag} must differ, got {port} for both")
        if port:  # 0 picks a free one
            flags[port] = flag
        check_free(config.host, port, flag)


def rest_server(
    backend: ChatBackend,
    config: RestConfig,
    keys: ApiKeys | None,
    tls: ServerTls | None,
    metrics: Metrics | None = None,
) -> RestServer:
    """Returns a REST server that is not started yet.

    Args:
        backend: the service that answers the requests.
        config: settings of the server.
        keys: valid API keys. None means that no call requires a key.
        tls: certificate and key. None means that connections are not encrypted.
        metrics: the source of the metrics page; None omits the page.

    Raises:
        ValueError: the settings turn REST off.
    """
    from serving.rest import create_app  # late: a server of gRPC alone needs no REST packages
    from serving.rest.server import RestServer

    if config.rest_port is None:
        raise ValueError("nothing to serve: the REST port is turned off")
    app = create_app(
        backend,
        max_body=config.max_body,
        allow_unknown_fields=config.allow_unknown_fields,
        keys=keys,
        metrics=metrics,
        cors_origins=config.cors_origin,
        playground=config.playground,
    )
    return RestServer(app, host=config.host, port=config.rest_port, tls=tls)


def url(server: RestServer) -> str:
    """Returns the `http://host:port` or `https://host:port` of a started server."""
    return f"{server.scheme}://{_address(server)}"


def _metrics_server(metrics: Metrics, host: str, port: int, tls: ServerTls | None) -> RestServer:
    from serving.rest.metrics import create_metrics_app
    from serving.rest.server import RestServer

    return RestServer(create_metrics_app(metrics), host=host, port=port, tls=tls, flag="--metrics-port")


def _address(server: GrpcServer | RestServer) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port}"
