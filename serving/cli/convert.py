"""Convert a model to the Orbax format, which loads directly onto any number of devices, or round its weights.

Serve the new directory like the old one. The answers are the same, unless weights are rounded.
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
    text = "round weights to 4 or 8 bits in groups of 32, and write them in the Hugging Face format"
    parser.add_argument("--quantize", choices=("int4", "int8"), default=None, help=text)


def run(args: argparse.Namespace) -> int:
    """Converts the model and returns 0. Raises the exceptions of `jaxchat.api.convert`."""
    quiet_compiler()
    from jaxchat.api import convert  # imports jax

    dtype = convert(args.source, args.destination, dtype=args.dtype, quantize=args.quantize, report=Progress())
    rounded = f"{args.quantize}, others in " if args.quantize else ""
    command = f"jaxchat serve --model {args.destination} --dtype {dtype}"
    print(f"{args.destination}: weights in {rounded}{dtype}; try: {command}")
    return 0
