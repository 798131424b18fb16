"""Flags of the commands that answer requests with a model that they load, or through a server."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import fields

from jaxchat.cache import cache_folder
from jaxchat.config import ChatConfig, EngineConfig
from serving.cli.environment import claim_gpu_memory, quiet_compiler
from serving.cli.flags import add_flags, from_flags
from serving.cli.interrupt import ending_at_once
from serving.cli.progress import Progress
from serving.config import RestClientConfig, RestConfig
from serving.offline.target import AppTarget, Target, UrlTarget
from serving.rest_client import base_url, open_session

BODY_SETTINGS = ("max_body", "allow_unknown_fields")
OpenTarget = Callable[[], AbstractAsyncContextManager[Target]]


def add_target_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that name a model to load, or a server to use instead of a model."""
    text = "model directory, GGUF file, hub id, or 'bundled' (default: bundled, if --url is not given)"
    parser.add_argument("--model", help=text)
    parser.add_argument("--url", help="server to use instead of loading a model, as http://host:8000", metavar="URL")
    add_flags(parser, RestClientConfig, "server of --url")
    add_flags(parser, ChatConfig, "requests, if a model is loaded")
    add_flags(parser, RestConfig, "requests, if a model is loaded: their bodies", only=BODY_SETTINGS)
    add_flags(parser, EngineConfig, "engine, if a model is loaded")


def target_of(args: argparse.Namespace) -> OpenTarget:
    """Returns a function that opens the target on an asyncio loop: the server at `--url`, or the model of the flags.

    The model is loaded before this function returns.

    Raises:
        ModelError: the model cannot be loaded.
        OSError, ValueError: a file or a setting is unusable, or a flag does not fit `--url`.
    """
    if args.url is not None:
        _refuse_model_flags(args)
        base, client = base_url(args.url), from_flags(args, RestClientConfig)
        return lambda: _at_url(base, client)
    for name in ("api_key_file", "ca"):
        if getattr(args, name) is not None:
            raise ValueError(f"{name} is for a server, so it needs --url")
    return _load(args)


def _refuse_model_flags(args: argparse.Namespace) -> None:
    if args.model is not None:
        raise ValueError("--model loads a model, so it cannot stand beside --url")
    for config in (ChatConfig, RestConfig, EngineConfig):
        for field in fields(config):
            value = getattr(args, field.name, field.default)
            if (tuple(value) if isinstance(value, list) else value) != field.default:
                raise ValueError(f"{field.name} is a setting of the server, so it cannot stand beside --url")


@asynccontextmanager
async def _at_url(base: str, client: RestClientConfig) -> AsyncIterator[Target]:
    async with open_session(client) as session:
        yield UrlTarget(session, base)


def _load(args: argparse.Namespace) -> OpenTarget:
    engine, chat = from_flags(args, EngineConfig), from_flags(args, ChatConfig)
    body = RestConfig(**{name: getattr(args, name) for name in BODY_SETTINGS})
    from serving.rest.app import create_app  # imports starlette

    progress = Progress(cache_folder(engine.cache_dir))
    claim_gpu_memory()
    quiet_compiler()
    from jaxchat.api import load_session  # imports jax

    with ending_at_once():
        session = load_session(args.model or "bundled", engine, progress, chat, tune_process=True)

    @asynccontextmanager
    async def target() -> AsyncIterator[Target]:
        await session.start()
        app = create_app(session, max_body=body.max_body, allow_unknown_fields=body.allow_unknown_fields)
        try:
            yield AppTarget(app, session.failed.is_set)
        finally:
            await session.close()

    return target
