"""Reads the context and the JSON of requests. Errors about unknown fields advise the operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from starlette.requests import Request

from jaxchat.chat.context import RequestContext
from jaxchat.errors import MESSAGE_LIMIT, ChatError, safe_text
from serving.trace_context import trace_headers

IGNORED = "A server with --allow-unknown-fields ignores it."
T = TypeVar("T")


def call_of(request: Request) -> RequestContext:
    """Returns the id of a request, the caller's credentials and the caller's span."""
    return RequestContext(
        request_id=request.state.request_id,
        authorization=request.headers.get("authorization", ""),
        **trace_headers(request.headers.items()),
    )


def parse_with_advice(parse: Callable[..., T], body: Mapping[str, Any], *, allow_unknown: bool) -> T:
    """Reads a request. Errors for unknown and unsupported fields say how the operator can make the server ignore them.

    Args:
        parse: reads a body; takes the keyword `allow_unknown`.
        body: the parsed JSON.
        allow_unknown: whether to ignore unknown keys.

    Raises:
        ChatError: the request is rejected.
    """
    try:
        return parse(body, allow_unknown=allow_unknown)
    except ChatError as error:
        if error.code not in ("unknown_parameter", "unsupported_parameter"):
            raise
        text = safe_text(error.message, MESSAGE_LIMIT - len(IGNORED) - 1)
        raise replace(error, message=f"{text} {IGNORED}") from None
