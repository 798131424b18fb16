"""Turns the chunks of a chat answer into the events of a streamed response."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jaxchat import v1
from jaxchat.errors import ChatError
from jaxchat.openai_responses.open_items import OpenCall, OpenItem, OpenMessage, OpenReasoning
from jaxchat.openai_responses.request import ResponsesRequest
from jaxchat.openai_responses.response import ResponseIdentity, error_json, item_status, token_ids_json

Json = dict[str, Any]


class ResponseEvents:
    """A writer of the events of one response, in the order and with the names of the API.

    An item ends before the next item begins. Text after a call begins a new item, and so do thoughts after text.

    Args:
        request: the request.
    """

    def __init__(self, request: ResponsesRequest) -> None:
        self._request = request
        self._identity: ResponseIdentity | None = None  # known from the first chunk on
        self._number = 0
        self._open: OpenItem | None = None
        self._output: list[Json] = []
        self._finish = v1.FINISH_REASON_UNSPECIFIED
        self._usage = v1.Usage()
        self._prompt_ids: list[int] = []
        self._token_ids: list[int] = []

    def chunk(self, chunk: v1.ChatCompletionChunk) -> Iterator[Json]:
        """Yields the events of the next chunk."""
        for event in self._chunk(chunk):
            yield self._numbered(event)

    def end(self) -> Iterator[Json]:
        """Yields the last events of a complete answer."""
        for event in self._end():
            yield self._numbered(event)

    def fail(self, error: ChatError) -> Json:
        """Returns the last event of an answer that failed.

        If the answer has begun, the event contains the response with the items that were complete.
        """
        if self._identity is None:
            return self._numbered({"type": "error", "code": error.code, "message": error.message, "param": error.param})
        response = self._identity.response("failed", self._output, error=error_json(error))
        return self._numbered({"type": "response.failed", "response": response})

    def _numbered(self, event: Json) -> Json:
        self._number += 1
        return {"type": event["type"], "sequence_number": self._number - 1} | event

    def _chunk(self, chunk: v1.ChatCompletionChunk) -> Iterator[Json]:
        identity = self._identity
        if identity is None:
            identity = self._identity = ResponseIdentity(self._request, chunk)
            for state in ("created", "in_progress"):
                yield {"type": f"response.{state}", "response": identity.response("in_progress", [])}
        if chunk.HasField("usage"):
            self._usage = chunk.usage
        self._prompt_ids += chunk.prompt_token_ids
        for choice in chunk.choices:
            self._token_ids += choice.token_ids
            yield from self._delta(identity, choice.delta, choice.logprobs)
            self._finish = choice.finish_reason or self._finish

    def _delta(self, identity: ResponseIdentity, delta: v1.Delta, logprobs: v1.ChoiceLogprobs) -> Iterator[Json]:
        if delta.reasoning_content:
            reasoning = self._open
            if not isinstance(reasoning, OpenReasoning):
                reasoning = OpenReasoning(identity, self._next_index)
                yield from self._begin(reasoning)
            yield from reasoning.add(delta.reasoning_content)
        if delta.content or logprobs.content:
            message = self._open
            if not isinstance(message, OpenMessage):
                message = OpenMessage(identity, self._next_index)
                yield from self._begin(message)
            yield from message.add(delta.content, logprobs.content)
        for part in delta.tool_calls:
            yield from self._call(identity, part)

    def _call(self, identity: ResponseIdentity, part: v1.ToolCallDelta) -> Iterator[Json]:
        call = self._open
        if part.HasField("id") or not isinstance(call, OpenCall):
            call = OpenCall(identity, self._next_index, part)
            yield from self._begin(call)
        if part.function.arguments:
            yield from call.add(part.function.arguments)

    @property
    def _next_index(self) -> int:
        return len(self._output) + (self._open is not None)

    def _begin(self, item: OpenItem) -> Iterator[Json]:
        yield from self._close("completed")
        self._open = item
        yield from item.begin()

    def _close(self, status: str) -> Iterator[Json]:
        if self._open is not None:
            yield from self._open.end(status)
            self._output.append(self._open.item(status))
            self._open = None

    def _end(self) -> Iterator[Json]:
        assert self._identity is not None, "an answer has at least one chunk"
        if not self._next_index:
            yield from self._begin(OpenMessage(self._identity, 0))
        status = item_status(self._finish)
        yield from self._close(status)
        ids = token_ids_json(self._prompt_ids, self._token_ids)
        response = self._identity.ended(self._finish, self._output, self._usage, **ids)
        yield {"type": f"response.{status}", "response": response}
