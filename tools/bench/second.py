"""Compares first and second start of a server, and first and second turn: `python -m tools.bench.second --shape 0.5B`

Starts a server on a random model with an empty cache for compiled programs, stops it and starts it again. Then sends
two turns. The first turn is a long history. The second turn is the same history with the first answer and a short
question appended. The first turn computes the whole prompt. The second turn shares the history's keys and values from
the prefix cache. The exit status is 1 if the second start compiled a program, or a program was compiled after ready.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from jaxchat.client import Client
from tools.bench.model import make
from tools.bench.shapes import SHAPES
from tools.bench.text import prompt_text, prompt_tokens
from tools.server_process import ServerProcess

ANSWER, QUESTION = 16, 40  # tokens
COMPILES = "compiles_after_ready_total"


def started(directory: Path, cache: str, args: argparse.Namespace) -> tuple[ServerProcess, float]:
    """Starts a server and returns it with the seconds until it was ready.

    Args:
        directory: directory of the model.
        cache: folder for compiled programs.
        args: the flags of the command line.

    Raises:
        RuntimeError: the server does not start.
    """
    flags = (
        "--model",
        str(directory),
        "--cache-dir",
        cache,
        "--max-seq-len",
        str(args.history + 500),
        "--startup-prompt",
        "none",
    )
    began = time.monotonic()
    server = ServerProcess(*flags, "--dtype", args.dtype, "--slots", str(args.slots))
    return server, time.monotonic() - began


def first_token(client: Client, model: str, messages: list[dict[str, str]]) -> tuple[float, str]:
    """Returns the seconds to the first text of an answer (0.0 if it has no text), and the whole text."""
    began, first, text = time.monotonic(), 0.0, ""
    fields = {"model": model, "max_tokens": ANSWER, "temperature": 0, "stream": True}
    for chunk in client.chat.completions.create(messages=messages, **fields):
        delta = "".join(choice.delta.content or "" for choice in chunk.choices)
        first = first or (time.monotonic() - began if delta else 0.0)
        text += delta
    return first, text


def turns(client: Client, model: str, rng: Random, history: int, vocab: int) -> tuple[float, float]:
    """Returns the seconds to the first text of the first turn and of the second turn.

    Args:
        client: client of the server.
        model: id of the model.
        rng: source of the random words.
        history: tokens of the first turn's message.
        vocab: size of the vocabulary.
    """
    messages = [{"role": "user", "content": prompt_text(prompt_tokens(rng, history, vocab))}]
    one, answer = first_token(client, model, messages)
    question = prompt_text(prompt_tokens(rng, QUESTION, vocab))
    messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": question}]
    return one, first_token(client, model, messages)[0]


def programs(cache: str) -> int:
    """Returns the number of compiled programs in a cache folder."""
    return sum(path.name.endswith("-cache") for path in Path(cache).rglob("*"))


def main() -> int:
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="tools.bench.second", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="0.5B")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--history", type=int, default=1500, help="tokens that both turns share")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "jaxchat" / "bench")
    args = parser.parse_args()
    config, rng = SHAPES[args.shape], Random(0)
    directory = make(args.cache / f"{args.shape}-{args.dtype}", config, args.dtype)
    with tempfile.TemporaryDirectory() as cache:
        server, cold = started(directory, cache, args)
        server.stop()
        compiled = programs(cache)
        server, warm = started(directory, cache, args)
        with server, Client(server.grpc) as client:
            anew = programs(cache) - compiled
            pairs = [turns(client, server.model, rng, args.history, config.vocab_size) for _ in range(args.repetitions)]
            late = server.metrics(COMPILES).get(COMPILES, -1.0)
    one, two = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
    print("| | first | second | second of first |\n|---|---|---|---|")
    print(f"| ready after, s | {cold:.1f} | {warm:.1f} | {100 * warm / cold:.0f} % |")
    print(f"| first token after {args.history} shared tokens, ms | {one:.0f} | {two:.0f} | {100 * two / one:.0f} % |")
    print(f"\n{compiled} programs compiled by the first start, {anew} anew by the second, {late:.0f} after ready.")
    return int(bool(anew or late))


if __name__ == "__main__":
    sys.exit(main())
