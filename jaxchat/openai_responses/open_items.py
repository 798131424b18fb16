"""The output items of a streamed response while they grow, and the events of their growth.

Events are the JSON objects of the API without `sequence_number`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from jaxchat import v1
from jaxchat.openai_responses.output import (
    call_item,
    logprobs_json,
    message_item,
    reasoning_item,
    reasoning_part,
    text_part,
)
from jaxchat.openai_responses.response import ResponseIdentity

Json = dict[str, Any]


class OpenItem(ABC):
    """An output item that grows.

    Args:
        identity: the response that the item belongs to.
        index: index of the item in the output.
    """

    kind: str  # beginning of its id

    def __init__(self, identity: ResponseIdentity, index: int) -> None:
        self.identity = identity
        self.index = index
        self.id = identity.item_id(self.kind, index)

    @abstractmethod
    def item(self, status: str) -> Json:
        """Returns the item so far, with the given status."""

    @abstractmethod
    def content_added(self) -> Iterator[Json]:
        """Yields the events between the beginning of the item and its first delta."""

    @abstractmethod
    def content_done(self) -> Iterator[Json]:
        """Yields the events between the last delta and the end of the item."""

    def begin(self) -> Iterator[Json]:
        """Yields the events that begin the item. Call it before any text is added."""
        item = self.item("in_progress")
        yield {"type": "response.output_item.added", "output_index": self.index, "item": item}
        yield from self.content_added()

    def end(self, status: str) -> Iterator[Json]:
        """Yields the events that end the item."""
        yield from self.content_done()
        yield {"type": "response.output_item.done", "output_index": self.index, "item": self.item(status)}

    def event(self, kind: str, **fields: Any) -> Json:
        """Returns an event about the item. `kind` is the type of the event without `response.`."""
        return {"type": f"response.{kind}", "item_id": self.id, "output_index": self.index, **fields}


class OpenReasoning(OpenItem):
    """An item of thoughts that grows."""

    kind = "rs"
    text = ""

    def item(self, status: str) -> Json:
        return reasoning_item(self.id, self.text, status, encrypted=self.identity.request.encrypted)

    def content_added(self) -> Iterator[Json]:
        yield self.event("content_part.added", content_index=0, part=reasoning_part(""))

    def add(self, text: str) -> Iterator[Json]:
        """Appends thoughts, and yields the event with them."""
        self.text += text
        yield self.event("reasoning_text.delta", content_index=0, delta=text)

    def content_done(self) -> Iterator[Json]:
        yield self.event("reasoning_text.done", content_index=0, text=self.text)
        yield self.event("content_part.done", content_index=0, part=reasoning_part(self.text))


class OpenMessage(OpenItem):
    """A message that grows."""

    kind = "msg"

    def __init__(self, identity: ResponseIdentity, index: int) -> None:
        super().__init__(identity, index)
        self._texts: list[str] = []
        self._logprobs: list[Json] = []

    def item(self, status: str) -> Json:
        return message_item(self.id, [] if status == "in_progress" else [self._part()], status)

    def content_added(self) -> Iterator[Json]:
        yield self.event("content_part.added", content_index=0, part=text_part("", []))

    def add(self, text: str, entries: Iterable[v1.TokenLogprob]) -> Iterator[Json]:
        """Appends text with its log-probabilities, and yields the event with both."""
        logprobs = logprobs_json(entries)
        self._texts.append(text)
        self._logprobs += logprobs
        yield self.event("output_text.delta", content_index=0, delta=text, logprobs=logprobs)

    def content_done(self) -> Iterator[Json]:
        part = self._part()
        yield self.event("output_text.done", content_index=0, text=part["text"], logprobs=self._logprobs)
        yield self.event("content_part.done", content_index=0, part=part)

    def _part(self) -> Json:
        return text_part("".join(self._texts), self._logprobs)


class OpenCall(OpenItem):
    """A call that grows.

    Args:
        identity: the response that the call belongs to.
        index: index of the call in the output.
        call: the first fragment of the call.
    """

    kind = "fc"

    def __init__(self, identity: ResponseIdentity, index: int, call: v1.ToolCallDelta) -> None:
        super().__init__(identity, index)
        self._call_id, self._name = call.id, call.function.name
        self._arguments: list[str] = []

    def item(self, status: str) -> Json:
        arguments, namespaces = "".join(self._arguments), self.identity.request.namespaces
        return call_item(self.id, self._call_id, self._name, arguments, status, namespaces)

    def content_added(self) -> Iterator[Json]:
        yield from ()

    def add(self, arguments: str) -> Iterator[Json]:
        """Appends a part of the arguments, and yields the event with it."""
        self._arguments.append(arguments)
        yield self.event("function_call_arguments.delta", delta=arguments)

    def content_done(self) -> Iterator[Json]:
        item = self.item("completed")
        yield self.event("function_call_arguments.done", name=item["name"], arguments=item["arguments"])
