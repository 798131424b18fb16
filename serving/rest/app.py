"""Routes of the REST server."""

from __future__ import annotations

import logging
from collections.abc import Collection

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from jaxchat.errors import ChatError
from jaxchat.openai_json import completion_to_json, model_to_json, request_from_json
from serving.auth import ApiKeys
from serving.backend import ChatBackend, find_model
from serving.rest.body import read_json
from serving.rest.cors import CrossOrigin
from serving.rest.disconnect import ClientGone, until_disconnect
from serving.rest.metrics import MetricsSource, metrics_route
from serving.rest.middleware import AnswerFailures, RequireKey, StandardHeaders, seed_header
from serving.rest.requests import call_of, parse_with_advice
from serving.rest.responses import error_response, json_response
from serving.rest.responses_api import responses_route
from serving.rest.sse import EventStream
from serving.rest.text import text_routes

log = logging.getLogger(__name__)

HEALTH = "/health"
ADVICE = {  # by the beginning of an unknown path
    "/v1/responses": " This server stores no responses: it has only POST /v1/responses.",
    "/chat/completions": " The base URL of a client ends in /v1.",
    "/completions": " The base URL of a client ends in /v1.",
}
CLIENT_CLOSED = 499  # never sent: the client has closed the connection


def create_app(
    backend: ChatBackend,
    *,
    max_body: int = 8 * 1024 * 1024,
    allow_unknown_fields: bool = False,
    keep_alive: float = 15.0,
    keys: ApiKeys | None = None,
    metrics: MetricsSource | None = None,
    cors_origins: Collection[str] | None = (),
) -> StandardHeaders:
    """Returns an ASGI application for `backend`.

    Args:
        backend: the service that answers the requests.
        max_body: largest request body, in bytes.
        allow_unknown_fields: whether to ignore unknown JSON keys instead of rejecting them.
        keep_alive: seconds between comments on a stream that waits for its first token.
        keys: valid API keys. Every path except /health requires one of them. None means that no path requires a key.
        metrics: the source of the page /metrics. None omits the page.
        cors_origins: origins of web pages that may call the server, besides localhost and the server's own address.
            `*` allows all origins. None allows no origins, not even localhost.
    """
    api = Api(backend, max_body, allow_unknown_fields, keep_alive)
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", api.chat, methods=["POST"]),
            *text_routes(backend, max_body, allow_unknown_fields, keep_alive),
            responses_route(backend, max_body, allow_unknown_fields, keep_alive),
            Route("/v1/models", api.models),
            Route("/v1/models/{model:path}", api.model),
            Route(HEALTH, api.health),
            *([metrics_route(metrics)] if metrics else []),
        ],
        exception_handlers={
            ChatError: _chat_error,
            HTTPException: _http_error,
            ClientGone: _client_gone,
            ClientDisconnect: _client_gone,
        },
        middleware=[Middleware(AnswerFailures)],
    )
    app.router.redirect_slashes = False
    guarded = RequireKey(app, keys, open_paths={HEALTH}) if keys else app
    return StandardHeaders(guarded if cors_origins is None else CrossOrigin(guarded, cors_origins))


class Api:
    """The handlers of the REST endpoints.

    Args:
        backend: the service that answers the requests.
        max_body: largest request body, in bytes.
        allow_unknown: whether to ignore unknown JSON keys instead of rejecting them.
        keep_alive: seconds between comments on a stream that waits for its first token.
    """

    def __init__(self, backend: ChatBackend, max_body: int, allow_unknown: bool, keep_alive: float):
        self._backend = backend
        self._max_body = max_body
        self._allow_unknown = allow_unknown
        self._keep_alive = keep_alive

    async def chat(self, request: Request) -> Response:
        body = await read_json(request, self._max_body)
        parsed = parse_with_advice(request_from_json, body, allow_unknown=self._allow_unknown)
        call = call_of(request)
        if parsed.stream:
            chunks = self._backend.stream(parsed.request, call)
            return EventStream(chunks, parsed.include_usage, self._keep_alive)
        answer = self._backend.complete(parsed.request, call)
        completion = await until_disconnect(request.receive, answer)
        return json_response(completion_to_json(completion), headers=seed_header(completion))

    async def models(self, request: Request) -> Response:
        models = await self._backend.models(call_of(request))
        return json_response({"object": "list", "data": [model_to_json(model) for model in models]})

    async def model(self, request: Request) -> Response:
        model = await find_model(self._backend, request.path_params["model"], call_of(request))
        return json_response(model_to_json(model))

    async def health(self, request: Request) -> Response:
        ready = self._backend.ready
        return json_response({"status": "serving" if ready else "not_serving"}, 200 if ready else 503)


async def _chat_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ChatError)
    return error_response(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    route = f"{request.method} {request.url.path}"[:200]
    advice = next((ADVICE[path] for path in ADVICE if f"{request.url.path}/".startswith(f"{path}/")), "")
    message = {404: f"Unknown path: {route}.{advice}", 405: f"Method not allowed: {route}."}.get(error.status_code)
    chat_error = ChatError(message or error.detail, http_status=error.status_code)
    return error_response(chat_error, error.headers)


async def _client_gone(request: Request, error: Exception) -> Response:
    log.info("request %s: the client closed the connection", request.state.request_id)
    return Response(status_code=CLIENT_CLOSED)
