"""Cross-origin requests: which web pages may call the server from a browser."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jaxchat.errors import ChatError, safe_repr
from serving.rest.responses import error_response

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_METHODS = "GET, POST"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_SECONDS = "600"  # for which a browser remembers the answer to a preflight
_READABLE = ", ".join(
    (
        "openai-processing-ms",
        "openai-version",
        "retry-after",
        "retry-after-ms",
        "x-jaxchat-seed",
        "x-request-id",
        "x-should-retry",
    )
)
"""Response headers that pages may read, besides the headers that pages may always read."""


class CrossOrigin:
    """ASGI middleware that answers preflights and lets allowed pages read responses.

    Pages from localhost and from the address that the request was sent to are always allowed. The name in the `host`
    header does not count as this address, because a hostile page can choose it.

    Args:
        app: the application.
        origins: further origins that are allowed, such as `https://chat.example`; `*` allows all.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(map(_without_default_port, origins))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is None:
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await self._preflight(origin, headers, scope)(scope, receive, send)
        else:
            await self._app(scope, receive, self._with_headers(origin, scope, send))

    def _allowed(self, origin: str, scope: Scope) -> str | None:
        """Returns the value of `access-control-allow-origin`, or None for a page that is not allowed."""
        if "*" in self._origins:
            return "*"
        host, own = _host(origin), _address((scope.get("server") or ("",))[0])
        allowed = _without_default_port(origin) in self._origins or (host and host in {*_LOCAL, own})
        return origin if allowed else None

    def _preflight(self, origin: str, headers: Headers, scope: Scope) -> Response:
        allowed = self._allowed(origin, scope)
        if allowed is None:
            advice = "The operator can allow it with --cors-origin."
            error = ChatError(f"Pages from {safe_repr(origin)} may not call this server. {advice}", http_status=403)
            return error_response(error, {"vary": "Origin"})
        answer = {
            "access-control-allow-origin": allowed,
            "access-control-allow-methods": _METHODS,
            "access-control-allow-headers": headers.get("access-control-request-headers", "authorization"),
            "access-control-max-age": _SECONDS,
            "vary": "Origin, Access-Control-Request-Headers",
        }
        if headers.get("access-control-request-private-network") == "true":
            answer["access-control-allow-private-network"] = "true"
        return Response(status_code=204, headers=answer)

    def _with_headers(self, origin: str, scope: Scope, send: Send) -> Send:
        allowed = self._allowed(origin, scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Origin")
                if allowed is not None:
                    headers["access-control-allow-origin"] = allowed
                    headers["access-control-expose-headers"] = _READABLE
            await send(message)

        return send_with_headers


def _host(origin: str) -> str:
    """Returns the host of an origin without port and brackets, or "" if its scheme is not http or https."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    return _address(parts.hostname or "") if parts.scheme in ("http", "https") else ""


def _address(host: str) -> str:
    """Returns an IP address in one spelling, without a zone, and other hosts unchanged."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return str(getattr(address, "ipv4_mapped", None) or address)


def _without_default_port(origin: str) -> str:
    """Returns an origin as browsers send it: in lower case, and without the default port of its scheme."""
    scheme, _, rest = origin.lower().partition("://")
    return origin.lower().removesuffix(_DEFAULT_PORTS[scheme]) if rest and scheme in _DEFAULT_PORTS else origin.lower()
