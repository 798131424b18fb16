"""Serve a model over gRPC and REST until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from importlib.util import find_spec
from typing import Protocol

from jaxchat.config import EngineConfig, ServeConfig
from serving.backend import ChatBackend
from serving.cli.flags import add_flags, from_flags
from serving.servers import Servers, stop_signal

EXAMPLE = """\
Try it:
  curl http://{address}/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'"""


class Session(ChatBackend, Protocol):
    """A backend with a life: what `jaxchat.api.load_session` returns."""

    model_id: str

    async def start(self) -> None: ...

    def summary(self) -> list[tuple[str, str]]: ...

    async def drain(self, grace: float) -> None: ...

    async def close(self) -> None: ...


def add_arguments(parser: argparse.ArgumentParser) -> None:
    text = "directory of the model, or 'bundled' for the small one inside (default: bundled)"
    parser.add_argument("--model", default="bundled", help=text)
    parser.add_argument("--log-level", default="warning", choices=("debug", "info", "warning", "error"))
    add_flags(parser, ServeConfig, "addresses and limits")
    add_flags(parser, EngineConfig, "engine")


def run(args: argparse.Namespace) -> int:
    """Returns 0 after a clean stop. Raises what loading or listening raises."""
    logging.basicConfig(level=args.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    serve, engine = from_flags(args, ServeConfig), from_flags(args, EngineConfig)
    _check_rest(serve)
    asyncio.run(_serve(args.model, serve, engine))
    return 0


def _check_rest(serve: ServeConfig) -> None:
    if serve.grpc_port < 0 and serve.rest_port < 0:
        raise ValueError("nothing to serve: both ports are turned off")
    if serve.rest_port >= 0 and not (find_spec("starlette") and find_spec("uvicorn")):
        raise ValueError("REST needs the extra 'rest': pip install 'jaxchat[rest]', or turn it off by --rest-port -1")


async def _serve(model: str, serve: ServeConfig, engine: EngineConfig) -> None:
    stop = stop_signal()
    session = await _load(model, engine, stop)
    if session is None:
        return
    servers = Servers(session, serve)
    try:
        await session.start()
        await servers.start()
        _announce(session, servers)
        await stop.wait()
        print("Stopping: running answers may finish.", file=sys.stderr, flush=True)
        await servers.refuse()
        await session.drain(serve.grace)
    finally:
        await servers.stop()
        await session.close()


async def _load(model: str, engine: EngineConfig, stop: asyncio.Event) -> Session | None:
    """The session, or None when a signal comes first: loading runs in a thread that nobody then waits for."""
    from jaxchat.api import load_session  # brings jax in

    loading = asyncio.ensure_future(asyncio.to_thread(load_session, model, engine))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not loading.done():
        return None
    session: Session = loading.result()
    return session


def _announce(session: Session, servers: Servers) -> None:
    lines = [*session.summary(), *servers.addresses()]
    width = max(len(name) for name, _ in lines)
    print("\n".join(f"{name:<{width}}  {value}" for name, value in lines))
    if servers.rest_address:
        print(EXAMPLE.format(address=servers.rest_address, model=session.model_id))
    print("Ready. Ctrl-C stops.", flush=True)
