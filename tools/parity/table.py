"""The parity of every family, measured over dtypes and meshes, as a table in Markdown."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from jaxchat.config import DTypeName
from tools.parity.checkpoints import CASES, WHOLE, write
from tools.parity.forms.models import FORMS, write_form
from tools.parity.measure import Difference, difference, recording_runner

DTYPES: tuple[DTypeName, ...] = ("float32", "bfloat16")
MESHES = (1, 2, 4, 8)
BOUNDS: dict[str, float] = {"float32": 1e-4, "bfloat16": 5e-2}
ROUNDED = 0.1  # for the kernels for quantised weights on one CPU device, which round activations to 8 bits
BEGIN, END = "<!-- parity: begin -->", "<!-- parity: end -->"


@dataclass(frozen=True)
class Cell:
    """The result for one case in one dtype on one mesh.

    Attributes:
        case: the key in `CASES`, or one of `FORMS`.
        dtype: dtype of weights and activations.
        devices: number of devices of the mesh.
        difference: the differences of the logits; None if the mesh cannot serve the case.
        refused: the reason why the mesh cannot serve the case; "" if it can.
    """

    case: str
    dtype: str
    devices: int
    difference: Difference | None
    refused: str = ""

    @property
    def green(self) -> bool:
        """Whether the differences are within bounds, or the mesh cannot serve the case."""
        bound = ROUNDED if self.case in FORMS and self.devices == 1 else BOUNDS[self.dtype]
        return self.difference is None or (self.difference.prefill < bound and self.difference.decode < bound)

    def __str__(self) -> str:
        if self.difference is None:
            return "refused"
        shown = f"{self.difference.prefill:.0e} / {self.difference.decode:.0e}"
        return shown if self.green else f"**{shown}**"


def cells(only: Sequence[str], dtypes: Sequence[DTypeName], meshes: Sequence[int]) -> Iterator[Cell]:
    """Yields the result of each family, and of each quantised form, in each dtype on each mesh.

    Args:
        only: texts. A case is measured if its name contains one of these texts. If `only` is empty, measures all cases.
        dtypes: dtypes of weights and activations.
        meshes: numbers of devices.
    """
    for case in (*CASES, *FORMS):
        if only and not any(word in case for word in only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            model = write(Path(folder), case) if case in CASES else write_form(Path(folder), case)
            for dtype in dtypes:
                reference = _rounded(model) if dtype == "bfloat16" and case in CASES else model
                for devices in meshes:
                    yield _cell(Path(folder), case, dtype, devices, reference)


def table(measured: Sequence[Cell], known: str = "") -> str:
    """Returns a table in Markdown of the differences of prefill and decode.

    It has a row for each case and dtype, and a column for each mesh. Cells of the table `known` that were not measured
    are kept.
    """
    cells = _texts(known) | {(cell.case, cell.dtype, cell.devices): str(cell) for cell in measured}
    meshes = sorted({devices for _, _, devices in cells})
    lines = [f"| family or form | dtype | {' | '.join(map(str, meshes))} |", "|---" * (len(meshes) + 2) + "|"]
    rows = {(case, dtype) for case, dtype, _ in cells}
    for case, dtype in ((case, dtype) for case in (*CASES, *FORMS) for dtype in DTYPES if (case, dtype) in rows):
        lines.append(f"| {case} | {dtype} | {' | '.join(cells.get((case, dtype, mesh), '') for mesh in meshes)} |")
    return "\n".join(lines)


def _texts(text: str) -> dict[tuple[str, str, int], str]:
    """Returns the texts of the cells of a table by case, dtype and number of devices, without empty ones."""
    head, _, *lines = [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines()] or [[], []]
    return {
        (case, dtype, int(devices)): cell
        for case, dtype, *row in lines
        for devices, cell in zip(head[2:], row, strict=True)
        if cell
    }


def table_of(page: str) -> str:
    """Returns the table between the markers of a page. Raises ValueError if they are missing."""
    return _parts(page)[1]


def replace_table(page: str, text: str) -> str:
    """Returns the page with `text` between the markers. Raises ValueError if they are missing."""
    before, _, after = _parts(page)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def _parts(page: str) -> tuple[str, str, str]:
    before, begin, rest = page.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for the table: {BEGIN} and {END}")
    return before, inside.strip(), after


def _cell(folder: Path, case: str, dtype: DTypeName, devices: int, reference: torch.nn.Module) -> Cell:
    try:
        recording = recording_runner(folder, dtype=dtype, tensor=devices, experts=case in WHOLE)
    except ValueError as error:
        return Cell(case, dtype, devices, None, str(error))
    return Cell(case, dtype, devices, difference(recording, reference))


def _rounded(model: torch.nn.Module) -> torch.nn.Module:
    """Returns the model with weights rounded to bf16. The model computes in f32, so its activations are not rounded."""
    return copy.deepcopy(model).to(torch.bfloat16).float()
