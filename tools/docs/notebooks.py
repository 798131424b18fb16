"""Pages of the site made from notebooks, with the outputs that they were committed with."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class NotebookPage:
    """The Markdown of a notebook, and its pictures by file name.

    Args:
        path: the notebook.
    """

    path: Path
    pictures: dict[str, bytes] = field(default_factory=dict)
    markdown: str = ""

    def __post_init__(self) -> None:
        notebook = json.loads(self.path.read_text("utf-8"))
        title, *others = (part for cell in notebook["cells"] for part in self._cell(cell))
        name = self.path.name
        download = f'<p class="notebook"><a href="{name}" download>Download this notebook</a>, with its outputs.</p>'
        heading, _, introduction = title.partition("\n")
        self.markdown = "\n\n".join([heading, download, introduction.strip(), *others]) + "\n"

    def _cell(self, cell: Mapping[str, Any]) -> Iterator[str]:
        source = _joined(cell["source"])
        if cell["cell_type"] == "markdown":
            yield source
            return
        yield fenced(source, "python")
        for output in cell["outputs"]:
            yield self._output(output)

    def _output(self, output: Mapping[str, Any]) -> str:
        """Returns an output as Markdown. The richest form counts."""
        if output["output_type"] == "stream":
            return fenced(_joined(output["text"]), "text")
        data = output["data"]
        if "image/png" in data:
            name = f"{self.path.stem}-{len(self.pictures) + 1}.png"
            self.pictures[name] = base64.b64decode(data["image/png"])
            return f"![Plot]({name})"
        if "text/html" in data:
            return f'<div class="notebook-output">{_joined(data["text/html"])}</div>'
        if "text/markdown" in data:
            return re.sub(r"^", "> ", _joined(data["text/markdown"]), flags=re.MULTILINE)
        return fenced(_joined(data["text/plain"]), "text")


def fenced(text: str, language: str) -> str:
    """Returns a code block, whose fence is longer than any in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _joined(text: str | list[str]) -> str:
    """Returns a text that a notebook stores whole or as a list of lines."""
    return text if isinstance(text, str) else "".join(text)
