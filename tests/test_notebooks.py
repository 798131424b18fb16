"""The notebooks run, read as plain English, and are committed with small outputs that name no machine."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from tests.exhaustive import mostly_exhaustive
from tests.test_docs import CODE, LINK
from tests.test_language import banned
from tools import notebooks

PATHS = sorted(notebooks.FOLDER.glob("*.ipynb"))
FIRST = notebooks.FOLDER / "first-chat.ipynb"
MACHINE = re.compile(r"/(?:home|root|tmp|Users|work)/|https?://(?!localhost)|chatcmpl-|created=|0x[0-9a-f]{6}")
LARGEST = 300_000  # bytes of a notebook with its outputs


def named(path: Path) -> str:
    return path.stem


each = pytest.mark.parametrize("path", PATHS, ids=named)


@pytest.mark.parametrize("path", mostly_exhaustive(PATHS, always=[FIRST]), ids=named)
def test_a_notebook_runs(path: Path) -> None:
    """Cells hold what must be true as asserts. The outputs are not compared, for they depend on the machine."""
    notebook = notebooks.run(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 5 and [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(output.output_type != "error" for cell in code for output in cell.outputs)


def test_there_are_notebooks_and_the_pages_name_them() -> None:
    assert len(PATHS) == 6
    page = (notebooks.ROOT / "docs/notebooks.md").read_text("utf-8")
    site = (notebooks.ROOT / "mkdocs.yml").read_text("utf-8")
    for path in PATHS:
        assert f"(notebooks/{path.name})" in page and f"notebooks/{path.stem}.md" in site


@each
def test_a_notebook_is_committed_as_it_ran_from_top_to_bottom(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum(bool(cell.outputs) for cell in code) > len(code) / 3
    assert path.stat().st_size < LARGEST


@each
def test_outputs_name_no_machine_and_no_time(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata == notebooks.METADATA
    for cell in notebook.cells:
        assert cell.metadata == {}
        for output in cell.get("outputs", []):
            texts = [
                output.get("text", ""),
                *(str(value) for kind, value in output.get("data", {}).items() if kind != "image/png"),
            ]
            assert not MACHINE.search("\n".join(texts))
            assert list(notebooks.lasting([output])) == [output]


@each
def test_cells_are_short_and_their_text_is_plain_english(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        assert cell.source.count("\n") < 32
        if cell.cell_type == "markdown":
            prose = CODE.sub(lambda code: "\n" * code[0].count("\n"), cell.source)
            assert list(banned(1, prose)) == []
            for link in LINK.findall(cell.source):
                assert (path.parent / link.partition("#")[0]).exists(), link


def test_a_cell_that_raises_fails_its_notebook(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("assert 1 == 2")])
    nbformat.write(notebook, tmp_path / "wrong.ipynb")
    with pytest.raises(Exception, match="AssertionError"):
        notebooks.run(tmp_path / "wrong.ipynb")


def test_what_differs_from_run_to_run_is_not_written(tmp_path: Path) -> None:
    source = "import sys\nprint('seen')\nprint('warned', file=sys.stderr)\n7"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    path = tmp_path / "small.ipynb"
    nbformat.write(notebook, path)
    notebooks.write(notebooks.run(path), path)
    written = nbformat.read(path, as_version=4)
    outputs = written.cells[0].outputs
    assert [output.get("text") or output.data["text/plain"] for output in outputs] == ["seen\n", "7"]
    assert written.metadata == notebooks.METADATA and written.cells[0].metadata == {}
