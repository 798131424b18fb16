"""Measure latency and throughput of a server of the OpenAI API, at one load or at several.

Requests are streamed. Latencies begin at the moment at which a request was due. The server counts the tokens, in the
usage of each answer. Tables go to standard output, in Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from serving.bench.config import BenchConfig
from serving.bench.figures import LoadFigures
from serving.bench.report import load_label, markdown, write_json
from serving.bench.run import Bench
from serving.cli.flags import add_flags, from_flags
from serving.config import RestClientConfig
from serving.observability.logs import to_stderr
from serving.rest_client import base_url, open_session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="the server, as http://host:8000")
    add_flags(parser, BenchConfig, "load")
    add_flags(parser, RestClientConfig, "server")
    output = parser.add_argument_group("output")
    output.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON, durations in seconds")
    text = "draw latency and throughput against load, as .png, .svg or .pdf (needs the extra plot)"
    output.add_argument("--plot", type=Path, metavar="FILE", help=text)


def run(args: argparse.Namespace) -> int:
    """Measures and prints the tables. Returns 0, or 1 if a request failed.

    Raises:
        ChatError: the server does not answer the first request.
        ModuleNotFoundError: a package is missing: aiohttp, or matplotlib with --plot.
        OSError, ValueError: a file or a setting is unusable, or the server cannot be reached.
    """
    if args.plot and not find_spec("matplotlib"):
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
    results = asyncio.run(_measure(args))
    print(markdown(results))
    if args.plot:
        from serving.bench.plots import draw  # imports matplotlib

        draw(results, args.plot)
    return 1 if any(figures.errors for figures in results) else 0


async def _measure(args: argparse.Namespace) -> Sequence[LoadFigures]:
    config, base = from_flags(args, BenchConfig), base_url(args.url)
    results = []
    async with open_session(from_flags(args, RestClientConfig), config.timeout) as session:
        bench = Bench(session, base, config)
        async for figures in bench.run():
            results.append(figures)
            to_stderr(f"{load_label(figures)}: {figures.output_rate:,.1f} output tokens/s")
            if args.json:  # after each load, so that an interrupted sweep leaves what it has
                write_json(args.json, {"url": base, "model": bench.model, "settings": asdict(config)}, results)
    return results
