"""Serve a model over gRPC and REST until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from importlib.util import find_spec
from typing import Protocol

from jaxchat.chat.wire import request_from_kwargs
from jaxchat.config import EngineConfig, ServeConfig
from serving.backend import ChatBackend
from serving.cli.flags import add_flags, from_flags
from serving.cli.progress import Progress
from serving.servers import Servers, stop_signal

EXAMPLE = """\
Try it:
  curl http://{address}/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'"""


class Session(ChatBackend, Protocol):
    """A backend with a life: what `jaxchat.api.load_session` returns."""

    @property
    def model_id(self) -> str: ...

    async def start(self) -> None: ...

    def summary(self) -> list[tuple[str, str]]: ...

    async def drain(self, grace: float) -> None: ...

    async def close(self) -> None: ...


def add_arguments(parser: argparse.ArgumentParser) -> None:
    text = "directory of the model, hub id, or 'bundled' for the small one inside (default: bundled)"
    parser.add_argument("--model", default="bundled", help=text)
    parser.add_argument("--log-level", default="warning", choices=("debug", "info", "warning", "error"))
    add_flags(parser, ServeConfig, "addresses and limits")
    add_flags(parser, EngineConfig, "engine")


def run(args: argparse.Namespace) -> int:
    """Returns 0 after a clean stop. Raises what loading or listening raises, KeyboardInterrupt if stopped before."""
    logging.basicConfig(level=args.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    serve, engine = from_flags(args, ServeConfig), from_flags(args, EngineConfig)
    _check_ports(serve)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # while loading it is the same as Ctrl-C
    from jaxchat.api import load_session  # brings jax in

    asyncio.run(_serve(load_session(args.model, engine, Progress()), serve))
    return 0


def _check_ports(serve: ServeConfig) -> None:
    if serve.grpc_port < 0 and serve.rest_port < 0:
        raise ValueError("nothing to serve: both ports are turned off")
    if serve.rest_port >= 0 and not (find_spec("starlette") and find_spec("uvicorn")):
        raise ValueError("REST needs the extra 'rest': pip install 'jaxchat[rest]', or turn it off by --rest-port -1")


async def _serve(session: Session, serve: ServeConfig) -> None:
    stop = stop_signal()
    servers = Servers(session, serve)
    try:
        await session.start()
        await servers.start()
        _announce(session, servers)
        await _greet(session, serve.greeting)
        print("Ready. Ctrl-C stops.", flush=True)
        await stop.wait()
        print("Stopping: running answers may finish.", file=sys.stderr, flush=True)
        await servers.refuse()
        await session.drain(serve.grace)
    finally:
        await servers.stop()
        await session.close()


def _announce(session: Session, servers: Servers) -> None:
    lines = session.summary()
    if servers.grpc_address:
        lines.append(("gRPC", servers.grpc_address))
    if servers.rest_address:
        lines.append(("REST", f"http://{servers.rest_address}/v1"))
    width = max(len(name) for name, _ in lines)
    print("\n".join(f"{name:<{width}}  {value}" for name, value in lines))
    if servers.rest_address:
        print(EXAMPLE.format(address=servers.rest_address, model=session.model_id))


async def _greet(session: Session, question: str) -> None:
    """Asks the model one question, so that the operator sees a real answer before anybody else asks."""
    if not question:
        return
    message = {"role": "user", "content": question}
    parsed = request_from_kwargs(model=session.model_id, messages=[message], temperature=0, max_tokens=64)
    answer = await session.complete(parsed.request, request_id="greeting")
    print(f"\n> {question}\n{answer.choices[0].message.content}\n")
