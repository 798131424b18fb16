"""Runs the notebooks in `docs/notebooks` and writes their outputs: `python -m tools.notebooks [NAME ...]`

Outputs are committed, so that GitHub and the site show them. Nothing is written that differs from run to run without
need: times, warnings, progress bars and the version of Python are left out.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from traitlets import default

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs/notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class LocalKernelManager(AsyncKernelManager):
    """Runs the kernel of this environment, whatever kernels the user has installed."""

    @default("kernel_spec_manager")
    def _own_kernel(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])


def run(path: Path) -> Any:
    """Runs a notebook with this Python and this source tree, and returns it with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises an exception.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    client = NotebookClient(
        notebook,
        kernel_manager_class=LocalKernelManager,
        timeout=None,  # the first start compiles programs, however slow the machine is
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
    )
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return client.execute(env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})


def write(notebook: Any, path: Path) -> None:
    """Writes a notebook without what differs from run to run."""
    notebook.metadata = METADATA
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = list(lasting(cell.outputs))
    nbformat.write(notebook, path)


def lasting(outputs: list[Any]) -> Iterator[Any]:
    """Yields the outputs that readers shall see: without standard error, and without the plain text of HTML."""
    for output in outputs:
        if output.get("name") == "stderr" or "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
            continue
        if "text/html" in output.get("data", {}):
            output.data = {"text/html": output.data["text/html"]}
        yield output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"notebooks, of {', '.join(names)} (default: all)")
    for name in parser.parse_args().names or names:
        path = FOLDER / f"{name}.ipynb"
        write(run(path), path)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
