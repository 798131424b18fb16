"""The endpoint of OpenAI's Responses API."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jaxchat import v1
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
from serving.rest.requests import call_of, parse_with_advice
from serving.rest.responses import dump, json_response
from serving.rest.sse import EventStream


def responses_route(backend: ChatBackend, max_body: int, allow_unknown: bool, keep_alive: float) -> Route:
    """Returns the route that answers Responses requests. Nothing is stored.

    Args:
        backend: the service that answers the requests.
        max_body: largest request body, in bytes.
        allow_unknown: whether to ignore unknown JSON keys instead of rejecting them.
        keep_alive: seconds between comments on a stream that waits for its first token.
    """

    async def create(request: Request) -> Response:
        body = await read_json(request, max_body)
        parsed = parse_with_advice(responses_request_from_json, body, allow_unknown=allow_unknown)
        call = call_of(request)
        if parsed.stream:
            return ResponseStream(backend.stream(parsed.request, call), parsed, keep_alive)
        try:
            completion = await until_disconnect(request.receive, backend.complete(parsed.request, call))
        except ChatError as error:
            raise parsed.names.rename(error) from None
        return json_response(completion_to_response(parsed, completion), headers=seed_header(completion))

    return Route("/v1/responses", create, methods=["POST"])


async def _renamed(
    parsed: ResponsesRequest, chunks: AsyncIterator[v1.ChatCompletionChunk]
) -> AsyncIterator[v1.ChatCompletionChunk]:
    """Yields the chunks unchanged. Makes errors name the fields of the Responses request, not those of chat."""
    stream: Any = chunks  # has `aclose`
    try:
        async with contextlib.aclosing(stream):
            async for chunk in stream:
                yield chunk
    except ChatError as error:
        raise parsed.names.rename(error) from None


class ResponseStream(EventStream):
    """An `EventStream` of the events of a response, each with its type in an `event:` line.

    Args:
        chunks: the chunks of the answer.
        parsed: the request.
        keep_alive: seconds between comments while the first token is awaited.
    """

    def __init__(
        self, chunks: AsyncIterator[v1.ChatCompletionChunk], parsed: ResponsesRequest, keep_alive: float
    ) -> None:
        super().__init__(_renamed(parsed, chunks), True, keep_alive)
        self._events = ResponseEvents(parsed)

    def events_of(self, chunk: v1.ChatCompletionChunk) -> str:
        return _text(self._events.chunk(chunk))

    def ending(self) -> str:
        return _text(self._events.end())

    def failure(self, error: ChatError) -> str:
        return _text([self._events.fail(error)])


def _text(events: Iterable[dict[str, Any]]) -> str:
    return "".join(f"event: {event['type']}\ndata: {dump(event)}\n\n" for event in events)
