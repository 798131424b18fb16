"""HTML for notebooks: escaped on one line, whole elements."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from jaxchat.html import Html, bar, element, escape, table
from jaxchat.units import duration, large_number, memory_size, percent


class Parsed(HTMLParser):
    """The tags, texts and titles of HTML, whose elements must all be closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.titles: list[str] = []
        self.styles: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert {name for name, _ in attrs} <= {"style", "title"}
        self.tags.append(tag)
        self._open.append(tag)
        self.titles += [value or "" for name, value in attrs if name == "title"]
        self.styles += [value or "" for name, value in attrs if name == "style"]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


HOSTILE = "<script>alert(\"1\")</script>\n&amp; 'x' \r</div>"


def test_texts_and_titles_are_escaped_on_one_line() -> None:
    html = element("div", HOSTILE, title=HOSTILE)
    assert "\n" not in html and "<script" not in html
    parsed = Parsed(html)
    assert parsed.tags == ["div"]
    assert parsed.text == parsed.titles[0] == HOSTILE


def test_only_html_is_not_escaped() -> None:
    assert escape(Html("<b>")) == "<b>" and escape("<b>") == "&lt;b&gt;" and escape(7) == "7"
    assert Parsed(element("div", element("b", "<"), "<")).tags == ["div", "b"]


def test_a_table_has_its_cells_in_order() -> None:
    named = Parsed(table([("a<", 1), ("b", element("i", "2"))]))
    assert named.text == "a<1b2" and named.tags.count("tr") == 2
    assert (named.tags.count("th"), named.tags.count("td"), named.tags.count("i")) == (2, 2, 1)
    headed = Parsed(table([("a", 1)], ("x", "y")))
    assert headed.text == "xya1" and (headed.tags.count("th"), headed.tags.count("td")) == (2, 2)


@pytest.mark.parametrize(("share", "width"), [(0.25, "25.0%"), (-1.0, "0.0%"), (7.0, "100.0%")])
def test_a_bar_is_filled_up_to_its_share(share: float, width: str) -> None:
    assert f"width:{width}" in Parsed(bar(share)).styles[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (duration(1.5), "1.50 s"),
        (duration(0.0123), "12.30 ms"),
        (duration(5e-5), "50.0 us"),
        (memory_size(3 * 2**30), "3.00 GiB"),
        (memory_size(5 * 2**19), "2.50 MiB"),
        (memory_size(512), "0.50 KiB"),
        (large_number(8_030_261_248), "8.03 B"),
        (large_number(3_100_000), "3.1 M"),
        (percent(1.0), "100.0 %"),
        (percent(0.9999), "99.990 %"),
        (percent(0.9999999), "100.0 %"),
        (percent(0.5), "50.0 %"),
        (percent(0.0123), "1.23 %"),
        (percent(0.0), "0.0 %"),
        (percent(1e-9), "< 0.01 %"),
    ],
)
def test_numbers_are_shown_with_their_units(text: str, expected: str) -> None:
    assert text == expected
