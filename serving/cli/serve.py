"""Serve one or several models over gRPC and REST until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxchat.cache import cache_folder
from jaxchat.chat.context import RequestContext
from jaxchat.config import EngineConfig
from jaxchat.errors import ModelError
from jaxchat.openai_json import request_from_kwargs
from serving.auth import read_keys
from serving.backend import LocalBackend, Session
from serving.cli import sections
from serving.cli.environment import claim_gpu_memory, quiet_compiler
from serving.cli.flags import add_flags, add_sections, from_flags
from serving.cli.interrupt import ending_at_once
from serving.cli.model_flags import ModelChoice, add_model_flags, check_combination, models_from_flags
from serving.cli.progress import Progress
from serving.config import LogConfig, MultihostConfig, ServeConfig
from serving.model_router import ModelRouter
from serving.observability import logs
from serving.observability.observers import check_extras, observe
from serving.servers import Servers, check_addresses
from serving.shutdown import drain, first, stop_signal
from serving.tls import server_tls

if TYPE_CHECKING:
    from serving.multihost.leader import Leader

log = logging.getLogger(__name__)
FAILURE_NOTICE = 1.0  # seconds during which a failed server still answers clients and health probes
MEMORY_ADVICE = "--pages, --max-seq-len and --slots, which hold for each model, decide how much its KV pages take"
EXAMPLE = """\
Try it:
  curl {url}/v1/chat/completions -H 'Content-Type: application/json'{key} \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_flags(parser)
    add_sections(parser, ServeConfig, sections.SERVER, "other settings of the server")
    add_sections(parser, EngineConfig, sections.ENGINE, "engine: other settings")
    add_flags(parser, MultihostConfig, "multihost: several processes that serve one model")
    add_flags(parser, LogConfig, "log")


def run(args: argparse.Namespace) -> int:
    """Serves models. Returns 0 after a clean stop, 1 after a failure of an engine.

    While models are loading, SIGTERM and Ctrl-C end the process.

    Raises:
        Exception: any exception of loading or listening. In a multihost group, such an exception ends the process.
    """
    log_config = from_flags(args, LogConfig)
    logs.configure(log_config)
    serve, engine, models = from_flags(args, ServeConfig), from_flags(args, EngineConfig), models_from_flags(args)
    multihost = from_flags(args, MultihostConfig)
    check_combination(models, serve, engine, multihost)
    _check(serve, listens=multihost.process_id == 0)
    folder, say = cache_folder(engine.cache_dir), logs.notices(log_config)
    claim_gpu_memory()
    quiet_compiler(log_config.log_level)
    if multihost.processes == 1:
        with ending_at_once():
            sessions = _load(models, engine, folder, say)
        return asyncio.run(_serve(sessions, serve))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # while loading, SIGTERM acts like Ctrl-C
    model, chat, progress = models[0].model, models[0].chat, Progress(folder, say)
    from jaxchat.api import load_session  # imports jax
    from serving.cli.multihost import exit_on_failure, lead, run_follower

    if multihost.process_id:
        return exit_on_failure(lambda: run_follower(model, engine, multihost, progress))

    def serve_as_leader(leader: Leader) -> int:
        session = load_session(model, engine, progress, chat, leader, tune_process=True)
        return asyncio.run(_serve([session], serve, leader))

    return exit_on_failure(lambda: lead(model, engine, multihost, serve_as_leader))


def _check(serve: ServeConfig, *, listens: bool) -> None:
    """Checks settings and files before the slow loading. If `listens` is true, also checks the ports.

    Raises:
        OSError: a port is taken.
        ValueError: the servers could not start.
    """
    if serve.grpc_port is None and serve.rest_port is None:
        raise ValueError("nothing to serve: --grpc-port none and --rest-port none turn both servers off")
    check_extras(serve)
    read_keys(serve.api_keys)
    server_tls(serve.tls_cert, serve.tls_key, serve.tls_client_ca)
    if listens:
        check_addresses(serve)


def _load(
    models: Sequence[ModelChoice], engine: EngineConfig, folder: Path | None, say: Callable[[str], None]
) -> list[Session]:
    """Loads models one after the other. Raises the exceptions of `jaxchat.api.load_session`, such as ModelError."""
    from jaxchat.api import load_session  # imports jax

    if len(models) > 1:
        from jaxchat.api import check_model

        for each in models:  # before the first is loaded, which may take minutes
            check_model(each.model, engine.cache_dir)
    sessions: list[Session] = []
    for number, each in enumerate(models, 1):
        if len(models) > 1:
            say(f"Model {number} of {len(models)}: {each.names[0]}")
        try:
            session = load_session(each.model, engine, Progress(folder, say), each.chat, tune_process=True)
        except RuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            beside = f" beside {', '.join(before.model for before in models[: number - 1])}" if sessions else ""
            raise ModelError(f"{each.model}: does not fit into memory{beside}: {error}; {MEMORY_ADVICE}") from None
        sessions.append(session)
    return sessions


async def _serve(sessions: Sequence[Session], serve: ServeConfig, leader: Leader | None = None) -> int:
    stop = stop_signal()
    if leader:
        _watch_followers(leader, sessions[0], stop)
    backend: LocalBackend = sessions[0] if len(sessions) == 1 else ModelRouter(sessions)
    observers = observe(sessions, serve)
    servers = Servers(backend, serve, observers.metrics)
    remaining_grace = 0.0
    try:
        await backend.start()
        await servers.start()
        _announce(sessions, servers, keyed=bool(serve.api_keys), playground=serve.playground)
        for session in sessions:
            await _ask(session, serve.startup_prompt)
        print("\nReady. Ctrl-C stops.", flush=True)
        await first(stop.wait(), *(session.failed.wait() for session in sessions))
        await servers.refuse()
        if failed := [session.model_id for session in sessions if session.failed.is_set()]:
            engine = "the engine" if len(sessions) == 1 else f"the engine of {', '.join(failed)}"
            print(f"jaxchat: {engine} failed; see the log. Stopping.", file=sys.stderr, flush=True)
            await asyncio.sleep(FAILURE_NOTICE)
            return 1
        remaining_grace = await drain(backend, serve.shutdown_grace)
        return 0
    finally:
        await servers.stop(remaining_grace)
        await backend.close()
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


def _announce(sessions: Sequence[Session], servers: Servers, *, keyed: bool, playground: bool) -> None:
    lines: list[tuple[str, str]] = []
    if servers.grpc_address:
        lines.append(("gRPC", servers.grpc_address))
    if servers.rest_address:
        lines.append(("REST", f"{servers.rest_url}/v1"))
    if servers.rest_address and playground:
        lines.append(("playground", f"{servers.rest_url}/"))
    if servers.metrics_url:
        lines.append(("metrics", servers.metrics_url))
    blocks = [*(session.summary() for session in sessions), lines]
    width = max(len(name) for block in blocks for name, _ in block)
    print("\n\n".join("\n".join(f"{name:<{width}}  {value}" for name, value in block) for block in blocks) + "\n")
    if servers.rest_address:
        key = " -H 'Authorization: Bearer KEY'" if keyed else ""
        print(EXAMPLE.format(url=servers.rest_url, key=key, model=sessions[0].model_id))


async def _ask(session: Session, question: str | None) -> None:
    """Sends one question to the model and prints the answer, so that the operator sees that serving works."""
    if question is None:
        return
    message = {"role": "user", "content": question}
    parsed = request_from_kwargs(model=session.model_id, messages=[message], temperature=0, max_tokens=64)
    answer = await session.complete(parsed.request, RequestContext(request_id="startup_prompt"))
    print(f"\n> {question}\n{answer.choices[0].message.content}")
