"""The caller's trace: the two headers of W3C Trace Context, over REST and as gRPC metadata."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

from jaxchat.chat.context import RequestContext

LONGEST = 8192  # characters of a header; W3C asks for at least 512 of tracestate


class TraceHeaders(TypedDict):
    """The trace headers of a call, for `RequestContext`. Only their length and their characters are checked so far."""

    traceparent: str
    tracestate: str


def trace_headers(headers: Iterable[tuple[str, str]]) -> TraceHeaders:
    """Returns the trace headers of a call. A header that is missing, too long, or not printable ASCII is "".

    If there are several `traceparent` headers, `traceparent` is "". Several `tracestate` headers are joined by commas.
    W3C prescribes both rules.

    Args:
        headers: names and values, in order. A name may occur several times, in any case.
    """
    lower = [(name.lower(), value) for name, value in headers]
    parents = [value for name, value in lower if name == "traceparent"]
    states = ",".join(value for name, value in lower if name == "tracestate")
    return TraceHeaders(traceparent=_usable(parents[0]) if len(parents) == 1 else "", tracestate=_usable(states))


def trace_metadata(call: RequestContext) -> list[tuple[str, str]]:
    """Returns the gRPC metadata that passes on the trace of a call."""
    pairs = (("traceparent", call.traceparent), ("tracestate", call.tracestate))
    return [(name, value) for name, value in pairs if value]


def _usable(value: str) -> str:
    return value if len(value) <= LONGEST and value.isascii() and value.isprintable() else ""
