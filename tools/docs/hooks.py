"""Hooks of MkDocs: pages made from files outside `docs/`, and links that suit both the site and the repository.

The reference is not committed. Each build of the site makes it from docstrings, flags and `proto/`, in a second.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from posixpath import normpath, relpath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tools.docs.command_line import command_line_page
from tools.docs.notebooks import NotebookPage
from tools.docs.protocol import protocol_page
from tools.docs.python_api import client_page, python_page

ROOT = Path(__file__).resolve().parents[2]
COPIED = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "LICENSE": "license.md",
}
BEFORE = {"README.md": "---\nhide: [navigation]\n---\n", "LICENSE": "# License\n\n"}
GENERATED: dict[str, Callable[[], str]] = {
    "reference/python.md": python_page,
    "reference/client.md": client_page,
    "reference/command-line.md": command_line_page,
    "reference/protocol.md": protocol_page,
}
NOTEBOOKS = "docs/notebooks"
LINK = re.compile(r"(\]\()([^)\s:#]+)(?=[)#])")
CODE = re.compile(r"`[^`\n]*`")
ROW = re.compile(r"^\|.*$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are copied or generated."""
    for source, target in COPIED.items():
        text = BEFORE.get(source, "") + (ROOT / source).read_text("utf-8")
        files.append(File.generated(config, target, content=text))
    for target, make in GENERATED.items():
        files.append(File.generated(config, target, content=make()))
    for path in sorted((ROOT / NOTEBOOKS).glob("*.ipynb")):
        page = NotebookPage(path)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page.markdown))
        for name, picture in page.pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=picture))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Returns the text of a page, with links to pages of the site. In tables, code has `|` without a backslash."""
    copied = {target: source for source, target in COPIED.items()}
    target = page.file.src_uri
    place = copied.get(target, target if target.startswith("reference/") else f"docs/{target}")
    text = LINK.sub(lambda link: f"{link[1]}{_link(link[2], place, target)}", markdown)
    return ROW.sub(lambda row: CODE.sub(lambda code: code[0].replace(r"\|", "|"), row[0]), text)


def _link(link: str, place: str, page: str) -> str:
    """Converts a link between files of the repository to a link between pages of the site.

    Args:
        link: the link, relative to the folder of the file `place`.
        place: the file that has the link, as a path from the root of the repository.
        page: the page that is made from `place`, as a path in the site.
    """
    if place == page:  # generated: its links are those of the site
        return link
    target = normpath(f"{Path(place).parent.as_posix()}/{link}")
    in_docs = COPIED.get(target, target.removeprefix("docs/"))
    in_docs = re.sub(r"\.ipynb$", ".md", in_docs)
    site = "reference/protocol.md" if target.startswith("proto/") else in_docs
    return relpath(site, Path(page).parent.as_posix())
