"""The endpoint of OpenAI's Responses API."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jaxchat import v1
from jaxchat.chat.context import RequestContext
from jaxchat.errors import ChatError
from jaxchat.openai_responses import (
    ResponseEvents,
    ResponsesRequest,
    completion_to_response,
    responses_request_from_json,
)
from serving.backend import ChatBackend
from serving.rest.body import read_json
from serving.rest.disconnect import until_disconnect
from serving.rest.middleware import seed_header
from serving.rest.responses import dump, json_response, say_ignorable
from serving.rest.sse import EventStream


def responses_route(backend: ChatBackend, *, max_body: int, allow_unknown: bool, keep_alive: float) -> Route:
    """Returns the route that answers Responses requests. Nothing is stored.

    Args:
        backend: the service that answers the requests.
        max_body: largest request body, in bytes.
        allow_unknown: whether to ignore unknown JSON keys instead of rejecting them.
        keep_alive: seconds between comments on a stream that waits for its first token.
    """

    async def create(request: Request) -> Response:
        body = await read_json(request, max_body)
        try:
            parsed = responses_request_from_json(body, allow_unknown=allow_unknown)
        except ChatError as error:
            raise say_ignorable(error) from None
        call = RequestContext(
            request_id=request.state.request_id, authorization=request.headers.get("authorization", "")
        )
        if parsed.stream:
            chunks = _renamed(parsed, backend.stream(parsed.request, call))
            return EventStream(chunks, SemanticEvents(parsed), keep_alive)
        try:
            completion = await until_disconnect(request.receive, backend.complete(parsed.request, call))
        except ChatError as error:
            raise parsed.names.rename(error) from None
        return json_response(completion_to_response(parsed, completion), headers=seed_header(completion))

    return Route("/v1/responses", create, methods=["POST"])


async def _renamed(
    parsed: ResponsesRequest, chunks: AsyncIterator[v1.ChatCompletionChunk]
) -> AsyncIterator[v1.ChatCompletionChunk]:
    """Yields the chunks. Errors name the fields of the Responses request."""
    stream: Any = chunks  # has `aclose`
    try:
        async with contextlib.aclosing(stream):
            async for chunk in stream:
                yield chunk
    except ChatError as error:
        raise parsed.names.rename(error) from None


class SemanticEvents:
    """The events of the Responses API, each with its type in an `event:` line.

    Args:
        parsed: the request.
    """

    def __init__(self, parsed: ResponsesRequest) -> None:
        self._events = ResponseEvents(parsed)

    def chunk(self, chunk: v1.ChatCompletionChunk) -> str:
        return _text(self._events.chunk(chunk))

    def end(self) -> str:
        return _text(self._events.end())

    def fail(self, error: ChatError) -> str:
        return _text([self._events.fail(error)])


def _text(events: Iterable[dict[str, Any]]) -> str:
    return "".join(f"event: {event['type']}\ndata: {dump(event)}\n\n" for event in events)
