"""Constrains a model with random weights by random JSON Schemas, and validates each answer.

    python -m tools.schemas --count 1000

The package `jsonschema` must accept every answer with the finish reason `stop`. If the finish reason is `length`, the
same seeded request is repeated with more tokens, and the new answer must begin with the old answer. The exit status is
1 if an answer is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import jax
import jax.numpy as jnp
from jsonschema import Draft202012Validator

from jaxchat.api import load_async
from jaxchat.checkpoints.huggingface import save_hf
from jaxchat.client import AsyncClient
from jaxchat.errors import ChatError
from jaxchat.kernels.attention.reference import causal
from jaxchat.model_directory import find
from jaxchat.models.decoder import Decoder
from jaxchat.models.families import read_config
from tools.schemas.made import random_schema

FIRST, MOST = 48, 3072  # tokens
ASK = [{"role": "user", "content": "Go on."}]


def random_model(directory: Path) -> Path:
    """Writes a model with the bundled model's shape and tokenizer and random weights. Returns its directory."""
    shutil.copytree(find("bundled"), directory, ignore=shutil.ignore_patterns("*.safetensors"))
    config, ids = read_config(directory), jnp.arange(4)
    params = Decoder(config).init(jax.random.key(0), ids, ids, attend=causal)["params"]
    save_hf(params, config, directory)
    return directory


async def judge(client: AsyncClient, schema: dict[str, Any], seed: int) -> str:
    """Returns the verdict on the answer to one request. A verdict on a wrong answer begins with WRONG.

    Args:
        client: a client of the random model.
        schema: the JSON Schema that constrains the answer.
        seed: seed of the request.
    """
    started, limit = "", FIRST
    while True:
        try:
            text, ended = await answer(client, schema, seed, limit)
        except ChatError as error:
            return "refused" if error.http_status == 400 and error.param else f"WRONG {error.message}"
        if not text.startswith(started):
            return f"WRONG {text!r} does not go on from {started!r}"
        if ended:
            break
        if limit == MOST:
            return f"endless after {MOST} tokens"
        started, limit = text, limit * 4
    checker = Draft202012Validator.FORMAT_CHECKER
    error = next(Draft202012Validator(schema, format_checker=checker).iter_errors(json.loads(text)), None)
    if error is not None:
        return f"WRONG {error.message} in {text!r} of {json.dumps(schema)}"
    return "valid" if limit == FIRST else "beginning of a valid one"


async def answer(client: AsyncClient, schema: dict[str, Any], seed: int, limit: int) -> tuple[str, bool]:
    """Returns the text of one answer, and whether the text is complete.

    Args:
        client: a client of the random model.
        schema: the JSON Schema that constrains the answer.
        seed: seed of the request.
        limit: maximum number of tokens.
    """
    reply = await client.chat.completions.create(
        messages=ASK, seed=seed, temperature=1.0, max_tokens=limit,
        response_format={"type": "json_schema", "json_schema": {"name": "made", "schema": schema}},
    )  # fmt: skip
    choice = reply.choices[0]
    return choice.message.content or "", choice.finish_reason == "stop"


async def run(args: argparse.Namespace, directory: Path) -> int:
    """Prints the verdicts on `args.count` accepted schemas. Returns 1 if an answer is wrong, otherwise 0."""
    chance, verdicts, waiting = Random(args.seed), Counter[str](), asyncio.Semaphore(args.at_once)

    async def judge_one(schema: dict[str, Any], seed: int) -> None:
        async with waiting:
            verdicts[await judge(client, schema, seed)] += 1

    async with await load_async(str(directory), slots=args.at_once) as client:
        judged = 0
        while judged - verdicts["refused"] < args.count:
            missing = args.count - judged + verdicts["refused"]
            await asyncio.gather(*(judge_one(random_schema(chance), judged + number) for number in range(missing)))
            judged += missing
    for verdict, count in verdicts.most_common():
        print(f"{count:6} {verdict}")
    return int(any(verdict.startswith("WRONG") for verdict in verdicts))


def main() -> int:
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools.schemas", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="schemas to be answered")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=8)
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        return asyncio.run(run(args, random_model(Path(folder) / "random")))


if __name__ == "__main__":
    sys.exit(main())
