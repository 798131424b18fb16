"""Notebooks as pages of the site: every cell, its outputs, and its pictures."""

from __future__ import annotations

import base64
import json
import re
from html import unescape
from pathlib import Path

import pytest

from tests.tools.docs.html_page import parse
from tools.docs.notebooks import NotebookPage, fenced
from tools.notebooks import FOLDER

PATHS = sorted(FOLDER.glob("*.ipynb"))


def text_of(html: str) -> str:
    """Returns the text of a page without white space."""
    return re.sub(r"\s", "", unescape(re.sub(r"<[^>]+>", "", html)))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_site_shows_every_cell_and_the_pictures(site: Path, path: Path) -> None:
    html = (site / "notebooks" / f"{path.stem}.html").read_text("utf-8")
    page, text = parse(html), text_of(html)
    cells = json.loads(path.read_text("utf-8"))["cells"]
    for cell in cells:
        if cell["cell_type"] == "code":
            assert re.sub(r"\s", "", "".join(cell["source"])) in text
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    pictures = sum("image/png" in output.get("data", {}) for output in outputs)
    assert page.counts["img"] == pictures == len(list((site / "notebooks").glob(f"{path.stem}-*.png")))
    assert (site / "notebooks" / path.name).read_bytes() == path.read_bytes()


def test_outputs_become_markdown(tmp_path: Path) -> None:
    data = [{"text/html": "<b>x</b>", "text/plain": "no"}, {"text/markdown": ["a\n", "b"]}, {"text/plain": "7"}]
    picture = {"image/png": base64.b64encode(b"png").decode(), "text/plain": "<Figure>"}
    outputs = [{"output_type": "execute_result", "data": entry} for entry in [*data, picture]]
    printed = {"output_type": "stream", "name": "stdout", "text": ["1\n", "2\n"]}
    cells = [
        {"cell_type": "markdown", "source": "# Title\n\nText."},
        {"cell_type": "code", "source": ["f()"], "outputs": [*outputs, printed]},
    ]
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    page = NotebookPage(path)
    title, download, text, *parts = page.markdown.strip().split("\n\n")
    assert (title, text) == ("# Title", "Text.") and 'href="n.ipynb"' in download
    assert parts == [
        "```python\nf()\n```",
        '<div class="notebook-output"><b>x</b></div>',
        "> a\n> b",
        "```text\n7\n```",
        "![Plot](n-1.png)",
        "```text\n1\n2\n```",
    ]
    assert page.pictures == {"n-1.png": b"png"}


def test_a_fence_is_longer_than_those_in_its_text() -> None:
    assert fenced("```x```", "text") == "````text\n```x```\n````"
