"""Convert a model to the Orbax format, which loads directly onto any number of devices.

Serve the new directory like the old one. It has the same weights and gives the same answers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from serving.cli.environment import quiet_compiler
from serving.cli.progress import Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    text = "model directory in the Hugging Face format, GGUF file, hub id, or 'bundled'"
    parser.add_argument("source", metavar="SRC", help=text)
    parser.add_argument("destination", metavar="DST", type=Path, help="directory to write, new or empty")
    text = "precision of the stored weights (default: bfloat16 if all weights have it, otherwise float32)"
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default=None, help=text)


def run(args: argparse.Namespace) -> int:
    """Converts the model and returns 0. Raises the exceptions of `jaxchat.api.convert`."""
    quiet_compiler()
    from jaxchat.api import convert  # imports jax

    dtype = convert(args.source, args.destination, dtype=args.dtype, report=Progress())
    print(f"{args.destination}: weights in {dtype}; try: jaxchat serve --model {args.destination} --dtype {dtype}")
    return 0
