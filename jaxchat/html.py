"""HTML of objects in notebooks: escaped text, tables and bars, readable on light and on dark pages.

Styles are inline and colours translucent. Notebooks may drop style sheets, and every page has another background.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape as escape_quotes

SOFT = "opacity:0.7;font-size:0.9em"
NUMBERS = "font-variant-numeric:tabular-nums"
_CELL = "text-align:left;vertical-align:top;padding:0.15em 1em 0.15em 0;border:0;background:none"
_BAR = "rgba(70,130,220,0.55)"
_TRACK = "rgba(128,128,128,0.2)"


class Html(str):
    """A text that is HTML. All other texts are escaped before they are shown."""

    __slots__ = ()


def escape(value: object) -> Html:
    """Returns a value's text as HTML on one line. A value that is `Html` stays as it is."""
    if isinstance(value, Html):
        return value
    return Html(escape_quotes(str(value)).replace("\r", "&#13;").replace("\n", "&#10;"))


def element(tag: str, *parts: object, style: str = "", title: str = "") -> Html:
    """Returns an element with escaped parts. Browsers show `title` while the mouse rests on the element."""
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in (("style", style), ("title", title)) if value)
    return Html(f"<{tag}{attributes}>{''.join(map(escape, parts))}</{tag}>")


def table(rows: Iterable[Sequence[object]], head: Sequence[object] = ()) -> Html:
    """Returns a table. Cells are escaped.

    Args:
        rows: the cells of each row.
        head: the cells of the first line; none: the first cell of each row is its name.
    """
    heading = [_row("th", "th", head)] if head else []
    first = "td" if head else "th"
    body = element("tbody", *(_row(first, "td", row) for row in rows))
    style = "border-collapse:collapse;border:0;margin:0.25em 0"
    return element("table", *(element("thead", line) for line in heading), body, style=style)


def bar(share: float, width: float = 10) -> Html:
    """Returns a bar that is filled up to a share from 0 to 1. `width` is in units of the font size."""
    filled = f"display:block;height:100%;width:{100 * min(max(share, 0.0), 1.0):.1f}%;background-color:{_BAR}"
    track = f"display:inline-block;height:0.6em;width:{width:g}em;background-color:{_TRACK}"
    return element("span", element("span", style=filled), style=track)


def _row(first: str, others: str, cells: Sequence[object]) -> Html:
    tags = [first, *[others] * (len(cells) - 1)]
    return element("tr", *(element(tag, cell, style=_style(tag)) for tag, cell in zip(tags, cells, strict=True)))


def _style(tag: str) -> str:
    return f"{_CELL};font-weight:600" if tag == "th" else f"{_CELL};{NUMBERS}"
