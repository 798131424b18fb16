"""Control tokens of a rendering with decoys are found in the true rendering, whatever notation it has for messages."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxchat.chat.prompt.alignment import template_spans
from jaxchat.chat.prompt.splitter import Span

NOTATIONS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "url": quote,
    "html": html.escape,
    "json": lambda text: json.dumps(text)[1:-1],
    "python": lambda text: repr(text)[1:-1],
    "capitals": str.upper,
    "url of json": lambda text: quote(json.dumps(text)),
    "html and plain": lambda text: html.escape(text) + text,
}
EDGES = ["<", ">", "\uff5c", "\u2581", "|", "\U0001f44d", "a"]  # characters for which decoys have a letter
TOKEN = "<|end|>"


@pytest.mark.parametrize("notation", NOTATIONS)
def test_the_tokens_of_the_template_are_found(notation: str) -> None:
    write = NOTATIONS[notation]

    @given(st.lists(st.sampled_from([*EDGES, TOKEN, "%3C", "&lt;", "\\u003c", "text "]) | st.text(max_size=3)))
    def check(parts: list[str]) -> None:
        true, decoy = "".join(parts), "".join("q" if part in EDGES else part.replace("end", "xnd") for part in parts)
        rendered, second = (f"{TOKEN}{write(text)}{TOKEN} {write(text)}{TOKEN}" for text in (true, decoy))
        spans = [Span(at, at + len(TOKEN), 5) for at in range(len(second)) if second.startswith(TOKEN, at)]
        found = template_spans(rendered, second, spans)
        size = len(write(true))
        starts = [0, len(TOKEN) + size, 2 * len(TOKEN) + 1 + 2 * size]
        assert found == [Span(start, start + len(TOKEN), 5) for start in starts]

    check()


@pytest.mark.parametrize(
    ("rendered", "decoy"),
    [
        ("seen: a<", "aq"),
        ("a<", "seen: aq"),
        ("a<b", "aqc"),
        ("a<b", "aq"),
        ("a&lt;b", "aqbb"),
        ("a%3Cb", "aab"),
        (f"a&lt;{TOKEN}", "aq<|xnd|>"),
    ],
)
def test_renderings_that_differ_in_more_are_told(rendered: str, decoy: str) -> None:
    spans = [Span(2, 9, 5)] if len(decoy) == 9 else []
    assert template_spans(rendered, decoy, spans) is None
