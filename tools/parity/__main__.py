"""Measures how far our logits are from those of `transformers`: every family and quantised form, dtype and mesh.

    python -m tools.parity --write docs/models.md
    python -m tools.parity --only mixtral GGUF --meshes 1 8
    python -m tools.parity --here --meshes 1

`transformers` writes small random checkpoints. The compiled programs serve them over virtual CPU devices: prompts of up
to several chunks, then decode steps. Prints a line for each measurement, with a digest of all our logits, which is
the same in every run on the same machine.

The exit status is 1 if a difference is out of bounds or nothing was measured.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import jax

from tools.parity.table import BOUNDS, DTYPES, MESHES, Cell, cells, replace_table, table, table_of


def run(args: argparse.Namespace) -> int:
    """Measures what the arguments select, prints the results, and writes the table to a page if one is given.

    Returns:
        The exit status.

    Raises:
        ValueError: the page lacks the markers around the table.
    """
    page = args.write.read_text("utf-8") if args.write else ""
    known = table_of(page) if args.write else ""
    measured: list[Cell] = []
    for cell in cells(args.only, args.dtypes, args.meshes):
        measured.append(cell)
        rest = cell.difference.digest[:16] if cell.difference else cell.refused
        print(f"{cell.case}, {cell.dtype}, {cell.devices}: {cell} {rest}", flush=True)
        if args.write:
            args.write.write_text(replace_table(page, table(measured, known)), "utf-8")
    print(f"\n{table(measured)}")
    bad = [cell for cell in measured if not cell.green]
    print(f"\n{len(measured)} measured, {len(bad)} out of bounds {BOUNDS}")
    return int(bool(bad) or not measured)


def main() -> int:
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools.parity", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], help="parts of the names of families and forms")
    parser.add_argument("--dtypes", nargs="*", default=DTYPES, choices=DTYPES)
    parser.add_argument("--meshes", nargs="*", default=MESHES, type=int, help="numbers of devices")
    parser.add_argument(
        "--here", action="store_true", help="use this machine's devices, such as a GPU, instead of virtual ones"
    )
    parser.add_argument("--write", type=Path, help="page whose table, between markers, gets the results")
    args = parser.parse_args()
    if not args.here:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", max(args.meshes))
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
