"""Answer a file of requests in OpenAI's batch format, with a model that this command loads, or through a server.

Each line of INPUT is a request: an object with custom_id, method, url and body. OUTPUT gets one line for each request,
in the same order. After an interruption, even by kill -9, the same command continues, and OUTPUT becomes the same, byte
for byte. Until all requests are done, the lines that are done are in OUTPUT.state.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from jaxchat.config import ChatConfig, EngineConfig
from serving.cli.flags import add_flags, from_flags
from serving.cli.target import BODY_SETTINGS, OpenTarget, add_target_flags, target_of
from serving.config import BatchConfig
from serving.observability.logs import to_stderr
from serving.offline.batch import BatchSummary, Interrupted, run_batch
from serving.offline.lines import BatchInput
from serving.offline.state import begun_header

_WITH_URL = 32  # requests open at a server, whose slots are not known
_NOT_FOR_ANSWERS = ("request_timeout", "max_buffered_bytes")
_EVERY = 10.0  # seconds between two lines of progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="INPUT", type=Path, help="file with a request on each line")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="file to write, or to continue")
    add_flags(parser, BatchConfig, "batch")
    add_target_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Answers the requests. Returns 0 if all are done, or 1 if the run stopped early and can be continued.

    Raises:
        ChatError: the server refuses to say which model it serves.
        ModelError: the model cannot be loaded.
        OSError, ValueError: a file or a setting is unusable, or does not fit the state of OUTPUT.
    """
    config, source = from_flags(args, BatchConfig), BatchInput(args.input)
    settings: dict[str, Any] = {}
    if args.url is None:
        settings = _pin_settings(args)
    if config.concurrency is None:
        slots = args.slots * args.data_parallel
        config = replace(config, concurrency=2 * slots if args.url is None else _WITH_URL)
    try:
        summary = asyncio.run(_run(args, source, target_of(args), settings, config))
    except Interrupted as error:
        print(f"jaxchat: {error}. The same command continues.", file=sys.stderr)
        return 1
    finally:
        source.close()
    print(_text(summary, args.output))
    return 0


def _pin_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the settings that answers depend on, by name. The state of the batch stores them with the fingerprint.

    If no flag sets the date for templates, sets it to the day on which the batch was begun.
    """
    if args.template_date is None:
        args.template_date = begun_header(args.output).get("template_date") or str(datetime.now(UTC).date())
    if args.determinism == "fast":
        to_stderr("With --determinism fast answers depend on load, so an interrupted batch may end differently.")
    chat, engine = asdict(from_flags(args, ChatConfig)), from_flags(args, EngineConfig)
    chat["served_model_name"] = list(chat["served_model_name"])  # as it is read from the state, which is JSON
    settings = {name: value for name, value in chat.items() if name not in _NOT_FOR_ANSWERS}
    limits = {name: getattr(args, name) for name in BODY_SETTINGS}
    return settings | limits | {"max_seq_len": engine.max_seq_len, "logprobs": engine.logprobs}


async def _run(
    args: argparse.Namespace, source: BatchInput, target: OpenTarget, settings: dict[str, Any], config: BatchConfig
) -> BatchSummary:
    with _Progress(len(source)) as progress:
        async with target() as opened:
            return await run_batch(source, args.output, opened, settings, config, progress)


class _Progress:
    """A callable that shows progress on standard error: a bar at a terminal, otherwise lines of text."""

    def __init__(self, total: int) -> None:
        self._bar = tqdm(total=total, desc="requests", file=sys.stderr, disable=not sys.stderr.isatty())
        self._began = self._last = time.monotonic()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, done: int, total: int, tokens: int) -> None:
        now = time.monotonic()
        rate = f"{tokens / max(now - self._began, 1e-9):,.0f} tokens/s"
        self._bar.n = done
        self._bar.set_postfix_str(rate, refresh=False)
        self._bar.update(0)
        if self._bar.disable and now - self._last >= _EVERY:
            self._last = now
            to_stderr(f"{done:,} of {total:,} requests, {rate}")


def _text(summary: BatchSummary, output: Path) -> str:
    earlier = f", {summary.earlier:,} done before" if summary.earlier else ""
    counts = f"{summary.total:,} requests{earlier}: {summary.answered:,} answered, {summary.refused:,} refused"
    rate = summary.tokens / summary.seconds if summary.seconds else 0.0
    return f"{output}: {counts}; {summary.tokens:,} output tokens in {summary.seconds:.1f} s, {rate:,.1f} tokens/s"
