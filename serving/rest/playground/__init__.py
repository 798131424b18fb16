"""The playground: a web page for trying the model. Its files lie in `static/`, without a build step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FOLDER = Path(__file__).parent / "static"
_PAGE = "index.html"
_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "cache-control": "no-cache",  # browsers ask each time, so that page and server are of one version
    "content-security-policy": _POLICY,
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def playground_routes() -> list[Route]:
    """Returns the route of the page, `/`, and one for each of its files, below `/playground/`."""
    files = [path for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES and path.name != _PAGE]
    return [_route("/", _FOLDER / _PAGE), *(_route(f"/playground/{path.name}", path) for path in files)]


def _route(url: str, path: Path) -> Route:
    return Route(url, _sender(path.read_bytes(), f"{_TYPES[path.suffix]}; charset=utf-8"))


def _sender(content: bytes, content_type: str) -> Callable[[Request], Awaitable[Response]]:
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = _HEADERS | {"content-type": content_type, "etag": tag}

    async def send(request: Request) -> Response:
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers)

    return send
