"""Serve a model over gRPC and REST until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING

from jaxchat.cache import cache_folder
from jaxchat.chat.context import RequestContext
from jaxchat.config import ChatConfig, EngineConfig
from jaxchat.openai_json import request_from_kwargs
from serving.auth import read_keys
from serving.backend import Session
from serving.cli.environment import claim_gpu_memory, quiet_compiler
from serving.cli.flags import add_flags, from_flags
from serving.cli.progress import Progress
from serving.config import LogConfig, MultihostConfig, ServeConfig
from serving.observability import logs
from serving.observability.observers import check_extras, observe
from serving.servers import Servers
from serving.shutdown import drain, first, stop_signal
from serving.tls import server_tls

if TYPE_CHECKING:
    from serving.multihost.leader import Leader

log = logging.getLogger(__name__)
FAILURE_NOTICE = 1.0  # seconds during which a failed server still answers clients and health probes
EXAMPLE = """\
Try it:
  curl {url}/v1/chat/completions -H 'Content-Type: application/json'{key} \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    text = "model directory, GGUF file, hub id, or 'bundled' for the small model in the package (default: bundled)"
    parser.add_argument("--model", default="bundled", help=text)
    add_flags(parser, ServeConfig, "addresses and limits")
    add_flags(parser, ChatConfig, "requests")
    add_flags(parser, EngineConfig, "engine")
    add_flags(parser, MultihostConfig, "multihost: several processes that serve one model")
    add_flags(parser, LogConfig, "log")


def run(args: argparse.Namespace) -> int:
    """Serves a model. Returns 0 after a clean stop, 1 after a failure of the engine.

    Raises:
        KeyboardInterrupt: SIGTERM or Ctrl-C arrived while the model was loading.
        Exception: any exception of loading or listening. In a multihost group, such an exception ends the process.
    """
    log_config = from_flags(args, LogConfig)
    logs.configure(log_config)
    serve, engine, chat = from_flags(args, ServeConfig), from_flags(args, EngineConfig), from_flags(args, ChatConfig)
    multihost = from_flags(args, MultihostConfig)
    _check(serve)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # while loading, SIGTERM acts like Ctrl-C
    progress = Progress(cache_folder(engine.cache_dir), logs.notices(log_config))
    claim_gpu_memory()
    quiet_compiler(log_config.log_level)
    from jaxchat.api import load_session  # imports jax

    if multihost.processes == 1:
        return asyncio.run(_serve(load_session(args.model, engine, progress, chat, tune_process=True), serve))
    from serving.cli.multihost import exit_on_failure, lead, run_follower

    if multihost.process_id:
        return exit_on_failure(lambda: run_follower(args.model, engine, multihost, progress))

    def serve_as_leader(leader: Leader) -> int:
        session = load_session(args.model, engine, progress, chat, leader, tune_process=True)
        return asyncio.run(_serve(session, serve, leader))

    return exit_on_failure(lambda: lead(args.model, engine, multihost, serve_as_leader))


def _check(serve: ServeConfig) -> None:
    """Checks settings and files before the slow loading. Raises ValueError if the servers could not start."""
    if serve.grpc_port is None and serve.rest_port is None:
        raise ValueError("nothing to serve: --grpc-port none and --rest-port none turn both servers off")
    check_extras(serve)
    read_keys(serve.api_keys)
    server_tls(serve.tls_cert, serve.tls_key, serve.tls_client_ca)


async def _serve(session: Session, serve: ServeConfig, leader: Leader | None = None) -> int:
    stop = stop_signal()
    if leader:
        _watch_followers(leader, session, stop)
    observers = observe(session, serve)
    servers = Servers(session, serve, observers.metrics)
    remaining_grace = 0.0
    try:
        await session.start()
        await servers.start()
        _announce(session, servers, keyed=bool(serve.api_keys))
        await _ask(session, serve.startup_prompt)
        print("Ready. Ctrl-C stops.", flush=True)
        await first(stop.wait(), session.failed.wait())
        await servers.refuse()
        if session.failed.is_set():
            print("jaxchat: the engine failed; see the log. Stopping.", file=sys.stderr, flush=True)
            await asyncio.sleep(FAILURE_NOTICE)
            return 1
        remaining_grace = await drain(session, serve.shutdown_grace)
        return 0
    finally:
        await servers.stop(remaining_grace)
        await session.close()
        await asyncio.to_thread(observers.close)


def _watch_followers(leader: Leader, session: Session, stop: asyncio.Event) -> None:
    """Makes the session fail if a process is lost, and stops all processes if a follower asks to leave."""
    loop = asyncio.get_running_loop()

    def lost(reason: str) -> None:
        log.error("a process of this model is lost: %s", reason)
        loop.call_soon_threadsafe(session.fail)

    def leaving() -> None:
        loop.call_soon_threadsafe(stop.set)

    leader.lost, leader.leaving = lost, leaving


def _announce(session: Session, servers: Servers, *, keyed: bool) -> None:
    lines = session.summary()
    if servers.grpc_address:
        lines.append(("gRPC", servers.grpc_address))
    if servers.rest_address:
        lines.append(("REST", f"{servers.rest_url}/v1"))
    if servers.metrics_url:
        lines.append(("metrics", servers.metrics_url))
    width = max(len(name) for name, _ in lines)
    print("\n".join(f"{name:<{width}}  {value}" for name, value in lines))
    if servers.rest_address:
        key = " -H 'Authorization: Bearer KEY'" if keyed else ""
        print(EXAMPLE.format(url=servers.rest_url, key=key, model=session.model_id))


async def _ask(session: Session, question: str | None) -> None:
    """Sends one question to the model and prints the answer, so that the operator sees that serving works."""
    if question is None:
        return
    message = {"role": "user", "content": question}
    parsed = request_from_kwargs(model=session.model_id, messages=[message], temperature=0, max_tokens=64)
    answer = await session.complete(parsed.request, RequestContext(request_id="startup_prompt"))
    print(f"\n> {question}\n{answer.choices[0].message.content}\n")
