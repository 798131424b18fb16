"""Compares seeded answers bit for bit: alone, under load, with and without drafts, restarted, over gRPC and REST.

    python -m tools.determinism --requests 1000

Every request first runs alone, with an empty prefix cache and without drafts. Then all requests run again in several
phases, most requests with right or wrong predictions of their answers:

- alone, with drafts;
- in process under load: without drafts, with drafts, and with a limit of drafts that changes all the time;
- against a separate server process under load: over gRPC and REST, plain and streamed.

Load means that neighbours arrive, finish and are cancelled meanwhile. The page pool is so small that sequences are
swapped out and in all the time. Texts, calls, finish reasons and log-probabilities must be equal to the last bit. The
exit status is 1 if an answer differs or a program is compiled after ready.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from random import Random
from typing import Any

import openai

import jaxchat
from jaxchat.chat.prompt.template_files import load_template
from jaxchat.client import AsyncClient
from jaxchat.config import MAX_DRAFTS, EngineConfig
from jaxchat.model_directory import find
from serving.cli.flags import add_flags, from_flags, to_flags
from tools.determinism.answers import Answer
from tools.determinism.requests import Request, RequestSpace, random_request, template_fields, with_prediction
from tools.determinism.ways import alone, asking, changing, crowded, noise
from tools.server_process import ServerProcess

COUNTERS = "num_preemptions_total", "compiles_after_ready_total", "spec_decode_num_accepted_tokens_total"


class Report:
    """A comparison of each phase's answers with the expected answers, printed as a Markdown table.

    Args:
        requests: the requests of every phase.
        expected: the right answer to each request.
    """

    def __init__(self, requests: list[Request], expected: list[Answer]) -> None:
        self._requests, self._expected = requests, expected
        self.differing = 0
        print("| phase | requests | choices | log-probabilities | differing | seconds |\n|---|---|---|---|---|---|")

    def add(self, phase: str, answers: list[Answer], seconds: float) -> None:
        """Compares the answers of a phase, adds the number of answers that differ to `differing`, and prints a row.

        Writes the first three differences to standard error.

        Args:
            phase: name of the phase.
            answers: an answer to each request, in order.
            seconds: duration of the phase.
        """
        pairs = list(zip(self._requests, self._expected, answers, strict=True))
        bad = [pair for pair in pairs if pair[1] != pair[2]]
        choices = [choice for answer in answers for choice in answer.values()]
        values = sum(1 + len(entry[2]) for choice in choices for entry in choice.entries)
        row = (phase, len(answers), len(choices), values, len(bad), f"{seconds:.0f}")
        print(f"| {' | '.join(map(str, row))} |", flush=True)
        for request, expected, got in bad[:3]:
            print(f"{request}\n  alone: {expected}\n  {phase}: {got}", file=sys.stderr)
        self.differing += len(bad)


async def run(args: argparse.Namespace) -> int:
    rng, began = Random(args.seed), time.monotonic()
    engine = from_flags(args, EngineConfig)
    async with await jaxchat.load_async(args.model, config=engine) as local:
        # The limit of drafts changes no program, so one engine can answer with and without drafts.
        session: Any = local.transport.session
        model = session.model_id
        space = RequestSpace(
            model=model,
            vocab=session.info.vocab,
            longest=args.longest,
            words=args.words,
            **template_fields(load_template(find(args.model))),
        )
        requests = [random_request(rng, space) for _ in range(args.requests)]
        session.engine.limit_drafts(0)
        expected = await alone(local, requests)
        requests = [
            with_prediction(rng, request, answer[0].text) for request, answer in zip(requests, expected, strict=True)
        ]
        report = Report(requests, expected)
        report.add("alone, no drafts", expected, time.monotonic() - began)
        for name, limits in (
            ("no drafts", [0]),
            ("drafts", [MAX_DRAFTS]),
            ("drafts now and then", range(MAX_DRAFTS + 1)),
        ):
            began = time.monotonic()
            async with changing(session.engine.limit_drafts, limits, rng):
                if name == "drafts":
                    report.add("alone, drafts", await alone(local, requests), time.monotonic() - began)
                    began = time.monotonic()
                async with noise(local.chat.completions.create, model, args.neighbours, args.words, rng):
                    loaded = await crowded([asking(local, True), asking(local, False)], requests, args.at_once, rng)
            report.add(f"in process, under load, {name}", loaded, time.monotonic() - began)
        compiles, fingerprint, stats = session.compiles_after_ready, session.info.fingerprint, session.stats
    with ServerProcess("--model", args.model, "--startup-prompt", "none", *to_flags(engine)) as server:
        async with (
            AsyncClient(server.grpc) as client,
            openai.AsyncOpenAI(base_url=server.rest, api_key="none", max_retries=0, timeout=600) as web,
        ):
            for name, asks in (
                ("restarted, gRPC, under load", [asking(client, True), asking(client, False)]),
                ("restarted, REST, under load", [asking(web, True), asking(web, False)]),
            ):
                began = time.monotonic()
                async with noise(client.chat.completions.create, model, args.neighbours, args.words, rng):
                    answers = await crowded(asks, requests, args.at_once, rng)
                report.add(name, answers, time.monotonic() - began)
        seen = server.metrics(*COUNTERS)
    swaps, accepted = stats.preemptions + int(seen[COUNTERS[0]]), stats.accepted_drafts + int(seen[COUNTERS[2]])
    compiles += int(seen[COUNTERS[1]])
    print(f"\n{report.differing} differing answers; {compiles} compiles after ready; ", end="")
    print(f"{swaps} sequences swapped out; {accepted} drafts accepted; fingerprint {fingerprint}")
    return int(report.differing > 0 or compiles > 0)


def main() -> int:
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools.determinism", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--longest", type=int, default=48, help="maximum number of tokens of an answer")
    parser.add_argument("--words", type=int, default=150, help="maximum number of words of a prompt")
    parser.add_argument("--at-once", type=int, default=12, help="compared requests in flight")
    parser.add_argument("--neighbours", type=int, default=6, help="other requests in flight")
    parser.add_argument("--seed", type=int, default=0)
    add_flags(parser, EngineConfig, "engine; few pages by default, so that sequences are swapped out")
    parser.set_defaults(max_seq_len=640, pages=42)
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
