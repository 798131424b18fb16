"""Routes for text completions, token ids and capabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jaxchat import v1
from jaxchat.openai_json import (
    capabilities_to_json,
    detokenize_from_json,
    request_from_json,
    text_completion_to_json,
    text_request_from_json,
    tokenize_from_json,
    tokenized_to_json,
)
from jaxchat.openai_responses import responses_fields
from serving.backend import ChatBackend
from serving.rest.body import read_json
from serving.rest.disconnect import until_disconnect
from serving.rest.middleware import seed_header
from serving.rest.requests import call_of, parse_with_advice
from serving.rest.responses import json_response
from serving.rest.sse import TextEventStream

T = TypeVar("T")


def text_routes(backend: ChatBackend, max_body: int, allow_unknown: bool, keep_alive: float) -> list[Route]:
    """Returns the routes. The arguments are those of `serving.rest.app.Api`."""
    api = TextApi(backend, max_body, allow_unknown, keep_alive)
    return [
        Route("/v1/completions", api.complete, methods=["POST"]),
        Route("/v1/completions/render", api.render_text, methods=["POST"]),
        Route("/v1/chat/completions/render", api.render_chat, methods=["POST"]),
        Route("/tokenize", api.tokenize, methods=["POST"]),
        Route("/detokenize", api.detokenize, methods=["POST"]),
        Route("/v1/capabilities", api.capabilities),
    ]


class TextApi:
    """The handlers of the endpoints. The arguments are those of `serving.rest.app.Api`."""

    def __init__(self, backend: ChatBackend, max_body: int, allow_unknown: bool, keep_alive: float) -> None:
        self._backend, self._max_body = backend, max_body
        self._allow_unknown, self._keep_alive = allow_unknown, keep_alive

    async def complete(self, request: Request) -> Response:
        parsed = await self._parsed(request, text_request_from_json)
        call, entry_ids = call_of(request), parsed.request.return_token_ids
        if parsed.stream:
            parts = self._backend.stream_text(parsed.request, call)
            return TextEventStream(parts, parsed.include_usage, self._keep_alive, entry_ids=entry_ids)
        answer = await until_disconnect(request.receive, self._backend.complete_text(parsed.request, call))
        return json_response(text_completion_to_json(answer, entry_ids=entry_ids), headers=seed_header(answer))

    async def render_chat(self, request: Request) -> Response:
        parsed = await self._parsed(request, request_from_json)
        (prompt,) = await self._rendered(request, v1.RenderRequest(chat=parsed.request))
        return json_response(prompt)

    async def render_text(self, request: Request) -> Response:
        parsed = await self._parsed(request, text_request_from_json)
        return json_response(await self._rendered(request, v1.RenderRequest(text=parsed.request)))

    async def tokenize(self, request: Request) -> Response:
        parsed = await self._parsed(request, tokenize_from_json)
        answer = await self._backend.tokenize(parsed, call_of(request))
        return json_response(tokenized_to_json(answer, with_names=parsed.return_token_strs))

    async def detokenize(self, request: Request) -> Response:
        parsed = await self._parsed(request, detokenize_from_json)
        answer = await self._backend.detokenize(parsed, call_of(request))
        return json_response({"prompt": answer.prompt})

    async def capabilities(self, request: Request) -> Response:
        asked = v1.GetCapabilitiesRequest(model=request.query_params.get("model"))
        found = capabilities_to_json(await self._backend.capabilities(asked, call_of(request)))
        endpoints = found["endpoints"]
        chat = endpoints.get("/v1/chat/completions", {"fields": {}})
        endpoints["/v1/responses"] = {"fields": responses_fields(chat["fields"])}
        return json_response(found)

    async def _parsed(self, request: Request, parse: Callable[..., T]) -> T:
        body = await read_json(request, self._max_body)
        return parse_with_advice(parse, body, allow_unknown=self._allow_unknown)

    async def _rendered(self, request: Request, render: v1.RenderRequest) -> list[dict[str, list[int]]]:
        answer = await self._backend.render(render, call_of(request))
        return [{"token_ids": list(prompt.ids)} for prompt in answer.prompts]
