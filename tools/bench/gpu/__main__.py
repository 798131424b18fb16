"""Random models on a GPU, beside `transformers`: `python -m tools.bench.gpu --models llama-3.2-1b llama-3-8b`.

Each contestant runs in a separate process. Reports tokens per second, of prefill and of decoding several users at once,
and their share of the roof: for prefill the chip's peak rate, for decoding the time of reading weights and KV.
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

CONTESTANTS = {
    "jaxchat": ["tools.bench.gpu.engine"],
    "transformers": ["tools.bench.gpu.peer"],
    "transformers, compiled, static cache": ["tools.bench.gpu.peer", "--compiled"],
}


def ask(command: list[str], args: argparse.Namespace, model: str, seconds: float) -> dict[str, Any]:
    """Returns the last line that a contestant printed in time, {} if there is none."""
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
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="tools.bench.gpu", description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--models", nargs="+", default=["llama-3.2-1b", "llama-3-8b"])
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--seconds", type=float, default=600.0, help="that a contestant may take")
    parser.add_argument("--json", type=Path, help="file for all figures")
    args = parser.parse_args()
    every_result: dict[str, Any] = {}
    for model in args.models:
        results = {}
        for name in args.contestants:
            if one := ask(CONTESTANTS[name], args, model, args.seconds):
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
