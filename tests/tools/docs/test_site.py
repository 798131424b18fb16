"""The documentation site builds without a warning, its links lead somewhere, and it shows what GitHub shows."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

from tests.tools.docs.html_page import pages, parse
from tools.docs.hooks import COPIED

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
SOURCES = {f"docs/{path.relative_to(DOCS)}": path.relative_to(DOCS) for path in DOCS.rglob("*.md")}
SOURCES |= {source: Path(target) for source, target in COPIED.items() if source != "LICENSE"}


def test_links_and_anchors_lead_somewhere(site: Path) -> None:
    contents = pages(site)
    checked = 0
    for path, page in contents.items():
        for link in [*page.links, *page.loads]:
            url = urlsplit(link)
            if url.scheme or path.name == "404.html":
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            assert target.exists(), f"{path.relative_to(site)} links to {link}"
            anchors = contents[target].ids if target in contents else {""}
            assert not url.fragment or unquote(url.fragment) in anchors, f"{path.relative_to(site)} links to {link}"
            checked += 1
    assert checked > 1000


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    for path, page in pages(site).items():
        assert page.loads
        assert [url for url in page.loads if urlsplit(url).netloc] == [], path.name


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_the_site_shows_what_github_shows(site: Path, source: str) -> None:
    """Compares with CommonMark: Python-Markdown takes some lists and tables for paragraphs."""
    text = (ROOT / source).read_text("utf-8")
    expected = parse(MarkdownIt("commonmark").enable("table").render(text), whole=True)
    target = SOURCES[source]
    name = "index.html" if target.name == "README.md" else f"{target.stem}.html"
    page = parse((site / target.parent / name).read_text("utf-8"))
    assert page.counts == expected.counts
    codes = [code.strip() for code in expected.codes if "|" in code or "<" in code]
    assert [code.strip() for code in page.codes if "|" in code or "<" in code] == codes
