"""What a page of the site holds, read by Python's own HTML parser."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

COUNTED = ("h1", "h2", "h3", "li", "table", "tr", "pre", "img")
LOADED = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}
CONTENT = "article"


@dataclass
class Html(HTMLParser):
    """The ids and links of a page, what a browser loads for it, and how often its content has some elements.

    Args:
        whole: whether all of the page is content, and not only its article.
    """

    whole: bool = False
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    codes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._inside = self.whole
        self._code = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self._inside |= tag == CONTENT
        self.ids |= {values["id"]} if "id" in values else set()
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if (url := values.get(LOADED.get(tag, ""))) and values.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(url)
        if self._inside and tag in COUNTED:
            self.counts[tag] += 1
        if self._inside and tag == "code":
            self._code = True
            self.codes.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside &= tag != CONTENT
        self._code &= tag != "code"

    def handle_data(self, data: str) -> None:
        if self._code:
            self.codes[-1] += data


def parse(text: str, *, whole: bool = False) -> Html:
    """Returns what a page holds."""
    page = Html(whole=whole)
    page.feed(text)
    return page


def pages(site: Path) -> dict[Path, Html]:
    """Returns all pages of a site by their paths."""
    return {path: parse(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
