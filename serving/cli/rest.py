"""Serve REST in front of a gRPC server in another process, until Ctrl-C or SIGTERM. Forwards callers' API keys.

Listens without waiting for the gRPC server, and reconnects whenever needed. /health reports whether that server is
reachable.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from serving.auth import read_keys
from serving.cli.flags import add_flags, from_flags
from serving.config import BackendConfig, LogConfig, RestConfig
from serving.observability import logs
from serving.observability.observers import check_extras
from serving.remote_backend import RemoteBackend
from serving.servers import rest_server, url
from serving.shutdown import drain, first, stop_signal
from serving.tls import server_tls


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, BackendConfig, "backend")
    add_flags(parser, RestConfig, "addresses and limits")
    add_flags(parser, LogConfig, "log")


def run(args: argparse.Namespace) -> int:
    """Serves until a stop signal and returns 0. Raises ValueError for bad settings, OSError if the port is taken."""
    logs.configure(from_flags(args, LogConfig))
    config = from_flags(args, RestConfig)
    if config.rest_port is None:
        raise ValueError("nothing to serve: --rest-port none turns REST off")
    check_extras(config)
    return asyncio.run(_serve(config, from_flags(args, BackendConfig)))


async def _serve(config: RestConfig, target: BackendConfig) -> int:
    stop = stop_signal()
    keys, tls = read_keys(config.api_keys), server_tls(config.tls_cert, config.tls_key)
    backend = RemoteBackend(target)
    server = rest_server(backend, config, keys, tls)
    remaining_grace = 0.0
    try:
        await backend.start()
        await server.start()
        print(f"backend     {', '.join(target.backend)}\nREST        {url(server)}/v1")
        if config.playground:
            print(f"playground  {url(server)}/")
        sys.stdout.flush()
        await first(stop.wait(), backend.until_ready())
        if not stop.is_set():
            print("Ready. Ctrl-C stops.", flush=True)
            await stop.wait()
        remaining_grace = await drain(backend, config.shutdown_grace)
        return 0
    finally:
        await server.stop(remaining_grace)
        await backend.close()
