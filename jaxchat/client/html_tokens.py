"""Tokens as HTML for notebooks: coloured by their probability, with their alternatives.

The scale of colours is that of the playground: tokens without colour were likely, strongly coloured ones were not.
"""

from __future__ import annotations

import math
from codecs import getincrementaldecoder
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Protocol

from jaxchat.html import SOFT, Html, bar, element, table
from jaxchat.units import percent

Bytes = bytes  # a field named `bytes` hides the type
STEPS = (0.9, 0.5, 0.2, 0.05)  # the least probabilities of the first four colours
OPACITIES = (0.0, 0.12, 0.24, 0.37, 0.5)  # of amber, which stays readable under black and under white text
UNKNOWN = -9999.0  # the log-probability of a token that is not among the 20 likeliest
_LINE = "font-family:monospace;white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.8"
_PIECE = ";border:1px solid rgba(128,128,128,0.5);font-size:0.8em"


class ScoredToken(Protocol):
    """A token with its natural log-probability, which is None for the first token of a prompt."""

    @property
    def token(self) -> str: ...
    @property
    def logprob(self) -> float | None: ...
    @property
    def bytes(self) -> Bytes | None: ...
    @property
    def token_id(self) -> int: ...


class Position(ScoredToken, Protocol):
    """A token with the likeliest tokens in its place."""

    @property
    def top_logprobs(self) -> Sequence[ScoredToken]: ...


def tokens_html(tokens: Iterable[Position], *, legend: bool = True) -> Html:
    """Returns a text whose tokens are coloured. The title of a token has its probability and its alternatives.

    Args:
        tokens: the tokens of one text, in order.
        legend: whether a line explains the colours.
    """
    decoder = getincrementaldecoder("utf-8")("replace")
    parts = [_token(token, _text(decoder.decode(token.bytes or b""), token)) for token in tokens]
    line = element("div", *parts, style=_LINE)
    return element("div", line, _legend()) if legend else line


def alternatives_html(token: Position) -> Html:
    """Returns a table of the likeliest tokens in one place, and of the token itself if it is not one of them."""
    others = list(token.top_logprobs)
    if all(other.token_id != token.token_id for other in others):
        others.append(token)
    rows = [_alternative(other, other.token_id == token.token_id) for other in others]
    return table(rows, ("token", "id", "probability", "log-probability", ""))


def spelling(token: ScoredToken) -> str:
    """Returns a token's text with visible white space."""
    text = token.token or f"token {token.token_id}"
    return text.replace(" ", "\u2423").replace("\n", "\u21b5").replace("\t", "\u21e5")


def _token(token: Position, text: str) -> Html:
    incomplete = _PIECE if text == token.token != _decoded(token) else ""
    return element("span", text, style=f"background-color:{_colour(token.logprob)}{incomplete}", title=_title(token))


def _text(decoded: str, token: ScoredToken) -> str:
    """Returns the text that a token completes. A token that ends within a character is shown as its bytes."""
    return decoded.replace("\n", "\u21b5\n") or token.token


def _decoded(token: ScoredToken) -> str | None:
    return None if token.bytes is None else token.bytes.decode("utf-8", "replace")


def _title(token: Position) -> str:
    lines = [f"{spelling(token)}  {_probability(token)}  (id {token.token_id})"]
    lines += [f"{_probability(other):>9}  {spelling(other)}" for other in token.top_logprobs]
    return "\n".join(lines)


def _alternative(token: ScoredToken, chosen: bool) -> tuple[object, ...]:
    name = element("code", spelling(token))
    known = token.logprob is not None and token.logprob > UNKNOWN
    share = math.exp(token.logprob or 0.0) if known else 0.0
    logprob = f"{token.logprob:.4f}" if known else ""
    name = element("b", name, " (sampled)") if chosen else name
    return name, token.token_id, _probability(token), logprob, bar(share)


def _probability(token: ScoredToken) -> str:
    if token.logprob is None:
        return "not predicted"
    return percent(math.exp(token.logprob)) if token.logprob > UNKNOWN else "not among the 20 likeliest"


def _colour(logprob: float | None) -> str:
    share = 1.0 if logprob is None else math.exp(logprob)
    step = next((index for index, least in enumerate(STEPS) if share >= least), len(STEPS))
    return f"rgba(230,156,67,{OPACITIES[step]:g})"


def _legend() -> Html:
    bounds = [f"at least {STEPS[0]:.0%}", *(f"{low:.0%} to {high:.0%}" for high, low in pairwise(STEPS))]
    names = [*bounds, f"below {STEPS[-1]:.0%}"]
    swatches = [
        element("span", name, style=f"background-color:rgba(230,156,67,{opacity:g});padding:0 0.4em;margin-right:0.4em")
        for name, opacity in zip(names, OPACITIES, strict=True)
    ]
    return element("div", "Probability: ", *swatches, style=SOFT)
