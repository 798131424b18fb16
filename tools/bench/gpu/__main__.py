"""Measures jaxchat and `transformers` on a GPU: `python -m tools.bench.gpu --models llama-3.2-1b llama-3-8b`.

Models have random weights, and each peer runs in a separate process. `--peers` chooses them, also with rounded weights.
Reports the tokens per second of prefill, and of decoding for several users at once, with their share of the roofline.
The roofline of prefill is the peak rate that the maker of the GPU states. That of decoding follows from the time that
reading weights and KV takes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from jaxchat.planning.model_shapes import read_shape
from tools.bench.gpu.engine import add_arguments
from tools.bench.gpu.report import table

ENGINE = "tools.bench.gpu.engine"
PEERS = {
    "jaxchat": [ENGINE],
    "jaxchat, int8": [ENGINE, "--quantize", "int8"],
    "jaxchat, int4": [ENGINE, "--quantize", "int4"],
    "jaxchat, int4, products by XLA": [ENGINE, "--quantize", "int4", "--xla-products"],
    "transformers": ["tools.bench.gpu.peer"],
    "transformers, compiled, static cache": ["tools.bench.gpu.peer", "--compiled"],
}

DEFAULT = ["jaxchat", "transformers", "transformers, compiled, static cache"]


def ask(command: list[str], args: argparse.Namespace, model: str, seconds: float) -> dict[str, Any]:
    """Runs a peer and returns its last results, or {} if it printed none.

    Args:
        command: the module of the peer and its flags.
        args: the flags of `tools.bench.gpu.engine.add_arguments`.
        model: a name that `jaxchat plan` knows, or a `config.json`.
        seconds: maximum time of the run.
    """
    numbers = ("prompt", "steps", "rounds", "max_seq_len")
    flags = [word for name in numbers for word in (f"--{name.replace('_', '-')}", str(getattr(args, name)))]
    line = [sys.executable, "-m", *command, "--model", model, "--users", *map(str, args.users), *flags]
    try:
        said = subprocess.run(line, stdout=subprocess.PIPE, timeout=seconds, text=True).stdout
    except subprocess.TimeoutExpired as late:
        said = (late.stdout or b"").decode() if isinstance(late.stdout, bytes) else late.stdout or ""
    results = [one for one in said.splitlines() if one.startswith("{")]
    return json.loads(results[-1]) if results else {}


def main() -> int:
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools.bench.gpu", description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--models", nargs="+", default=["llama-3.2-1b", "llama-3-8b"])
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=DEFAULT)
    parser.add_argument("--seconds", type=float, default=600.0, help="maximum time of a peer, in seconds")
    parser.add_argument("--json", type=Path, help="file for all figures")
    args = parser.parse_args()
    every_result: dict[str, Any] = {}
    for model in args.models:
        results = {}
        for name in args.peers:
            if one := ask(PEERS[name], args, model, args.seconds):
                results[name] = one
                every_result[f"{model}, {name}"] = one
                if args.json:
                    args.json.write_text(json.dumps(every_result, indent=1))
        device = next((one["device"] for one in results.values() if "device" in one), "")
        print(
            f"\n{model}, {device}:\n\n{table(read_shape(model), device, results, args.prompt, args.steps)}", flush=True
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
