"""Markdown of docstrings whose sections are those of this repository: `Args:`, `Attributes:`, `Raises:`."""

from __future__ import annotations

import re
from inspect import cleandoc

SECTION = re.compile(r"^(Args|Attributes|Raises):$")
ENTRY = re.compile(r"^    (\S[^:]*): (.*)$")
TITLES = {"Args": "Parameters", "Attributes": "Attributes", "Raises": "Raises"}


def markdown_of(docstring: str | None) -> str:
    """Returns the Markdown of a docstring: its paragraphs, and a list for each section."""
    lines: list[str] = []
    section = False
    for line in cleandoc(docstring or "").split("\n"):
        if title := SECTION.match(line):
            section = True
            lines += [f"**{TITLES[title[1]]}**", ""]
        elif section and (entry := ENTRY.match(line)):
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        elif section and line.startswith("     "):
            lines.append(f"    {line.strip()}")
        else:
            section = section and not line
            lines.append(line)
    return _outside_code("\n".join(lines)).strip()


def _outside_code(text: str) -> str:
    """Returns the text with `<`, `*` and `_` escaped where they are not code, since docstrings are plain text."""
    parts = re.split(r"(`[^`]*`|^    .*$|\*\*\w+\*\*)", text, flags=re.MULTILINE)
    return "".join(part if number % 2 else re.sub(r"([<*_])", r"\\\1", part) for number, part in enumerate(parts))
