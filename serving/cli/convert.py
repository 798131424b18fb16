"""Convert a model to Orbax form, from which it loads straight onto any number of devices.

The new directory is served like the old one. The weights are those of the old one, and so are the answers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from serving.cli.environment import quiet_compiler
from serving.cli.progress import Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    text = "directory of the model in Hugging Face form, hub id, or 'bundled'"
    parser.add_argument("source", metavar="SRC", help=text)
    parser.add_argument("destination", metavar="DST", type=Path, help="directory to write, new or empty")
    text = "precision of the stored weights (default: bfloat16 where all of them are, else float32)"
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default=None, help=text)


def run(args: argparse.Namespace) -> int:
    """Returns 0. Raises ModelError and OSError."""
    quiet_compiler()
    from jaxchat.api import convert  # brings jax in

    dtype = convert(args.source, args.destination, dtype=args.dtype, report=Progress())
    print(f"{args.destination}: weights in {dtype}; try: jaxchat serve --model {args.destination} --dtype {dtype}")
    return 0
