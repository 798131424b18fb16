"""Sends one streamed request and notes when its tokens arrive."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jaxchat.errors import safe_text

if TYPE_CHECKING:
    import aiohttp

_ERROR_LENGTH = 200  # characters of an error that are kept


@dataclass
class Timing:
    """The times of one request, in seconds of `time.perf_counter`.

    Attributes:
        scheduled: when it was due. Latencies count from here, so that a late generator does not flatter the server.
        sent: when it was sent.
        arrivals: when each event with output came.
        end: when the answer was complete, or failed.
        prompt_tokens: tokens of the prompt, as the server counts.
        output_tokens: tokens of the answer, as the server counts.
        error: why it failed; "" for a complete answer.
    """

    scheduled: float
    sent: float = 0.0
    arrivals: list[float] = field(default_factory=list)
    end: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 0
    error: str = ""


class StreamError(Exception):
    """The error of a request that the server refuses, or whose answer fails midway or ends early."""


async def send(
    session: aiohttp.ClientSession, url: str, body: dict[str, Any], scheduled: float | None = None
) -> Timing:
    """Sends a request whose answer is streamed, and returns its times. A failed request has times with an `error`.

    Args:
        session: connections to the server.
        url: the endpoint.
        body: the request.
        scheduled: when it was due, in seconds of `time.perf_counter`; None for now.
    """
    import aiohttp

    data = json.dumps(body).encode()
    now = time.perf_counter()
    timing = Timing(now if scheduled is None else scheduled, now)
    try:
        async with session.post(url, data=data) as response:
            if response.status != 200:
                raise StreamError(f"status {response.status}: {_words(await response.read())}")
            await _read(response, timing)
    except StreamError as error:
        timing.error = str(error)
    except TimeoutError:
        timing.error = "timeout"
    except aiohttp.ClientError as error:
        timing.error = safe_text(f"connection: {error or type(error).__name__}", _ERROR_LENGTH)
    timing.end = time.perf_counter()
    return timing


async def _read(response: aiohttp.ClientResponse, timing: Timing) -> None:
    events = _Events()
    async for data in response.content.iter_any():
        now = time.perf_counter()
        for event in events.feed(data):
            try:
                _note(event, now, timing)
            except (AttributeError, TypeError, ValueError):
                raise StreamError(f"not an event of the API: {_words(json.dumps(event).encode())}") from None
    if not events.done:
        raise StreamError("the stream ended before [DONE]")
    if not timing.output_tokens:
        raise StreamError("the stream has no usage, so tokens cannot be counted")
    if not timing.arrivals:
        timing.arrivals.append(time.perf_counter())  # an answer without visible text


def _note(event: Any, now: float, timing: Timing) -> None:
    if error := event.get("error"):
        raise StreamError(f"error event: {_words(json.dumps({'error': error}).encode())}")
    if usage := event.get("usage"):
        timing.prompt_tokens = int(usage.get("prompt_tokens") or 0)
        timing.output_tokens = int(usage.get("completion_tokens") or 0)
    if any(map(_has_output, event.get("choices") or ())):
        timing.arrivals.append(now)


def _has_output(choice: Any) -> bool:
    delta = choice.get("delta") or {}
    return bool(choice.get("text") or delta.get("content") or delta.get("reasoning_content") or delta.get("tool_calls"))


class _Events:
    """A reader of server-sent events. `done` tells whether `[DONE]` has come."""

    def __init__(self) -> None:
        self._rest = b""
        self.done = False

    def feed(self, data: bytes) -> Iterator[Any]:
        """Yields the JSON object of each complete `data:` line, and notes `[DONE]`. Skips other lines.

        Raises:
            StreamError: the data of a line is not a JSON object.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            text = line[5:].strip()
            if text == b"[DONE]":
                self.done = True
                continue
            try:
                event = json.loads(text)
            except ValueError:
                event = None
            if not isinstance(event, dict):
                raise StreamError(f"not an event of the API: {_words(text)}")
            yield event


def _words(body: bytes) -> str:
    """Returns the message in `body` if that is an error object, otherwise the beginning of `body`."""
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode("utf-8", "replace")
    return safe_text(str(message), _ERROR_LENGTH)
