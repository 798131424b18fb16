"""The interface through which the servers call a backend.

A backend is a session in this process or a client of another server.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from jaxchat import v1
from jaxchat.cache_events import CacheObserver
from jaxchat.chat.context import ModelInfo, Observer, RequestContext
from jaxchat.errors import model_not_found

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class ChatBackend(Protocol):
    """A service that answers chat requests, on one asyncio loop. Cancelling a call frees its slot at once."""

    @property
    def ready(self) -> bool:
        """Whether new requests are accepted."""

    async def models(self, call: RequestContext) -> list[v1.Model]:
        """Returns the models that requests may name. Raises `ChatError` if the call fails."""

    async def complete(self, request: v1.ChatCompletionRequest, call: RequestContext) -> v1.ChatCompletion:
        """Returns the whole answer. Raises `ChatError` if the request is rejected or fails."""

    def stream(self, request: v1.ChatCompletionRequest, call: RequestContext) -> AsyncIterator[v1.ChatCompletionChunk]:
        """Yields the answer in chunks. Raises `ChatError` if the request fails.

        A rejected request fails before the first chunk.
        """

    async def complete_text(self, request: v1.TextCompletionRequest, call: RequestContext) -> v1.TextCompletion:
        """Returns whole text completions. Raises `ChatError` if the request is rejected or fails."""

    def stream_text(self, request: v1.TextCompletionRequest, call: RequestContext) -> AsyncIterator[v1.TextCompletion]:
        """Yields text completions in parts. Raises `ChatError` if the request fails, as `stream` does."""

    async def tokenize(self, request: v1.TokenizeRequest, call: RequestContext) -> v1.TokenizeResponse:
        """Returns the token ids of a text or of a conversation. Raises `ChatError` if the request is rejected."""

    async def detokenize(self, request: v1.DetokenizeRequest, call: RequestContext) -> v1.DetokenizeResponse:
        """Returns the text of token ids. Raises `ChatError` if the request is rejected."""

    async def render(self, request: v1.RenderRequest, call: RequestContext) -> v1.RenderResponse:
        """Returns the prompts that a completion would use. Raises `ChatError` if the completion would be rejected."""

    async def capabilities(self, request: v1.GetCapabilitiesRequest, call: RequestContext) -> v1.Capabilities:
        """Returns which request fields are applied, and the formats and limits of requests and answers.

        Raises `ChatError` if the call fails.
        """


class Load(Protocol):
    """A snapshot of an engine's load.

    `waiting` and `running` are numbers of sequences. `pages_in_use` and `pages` are numbers of KV pages.
    """

    @property
    def waiting(self) -> int: ...

    @property
    def running(self) -> int: ...

    @property
    def pages_in_use(self) -> int: ...

    @property
    def pages(self) -> int: ...

    @property
    def preemptions(self) -> int:
        """Number of times that a sequence was swapped out to host memory since the start."""

    @property
    def drafts(self) -> int:
        """Number of draft tokens that were checked since the start."""

    @property
    def accepted_drafts(self) -> int:
        """Number of draft tokens that were checked since the start and turned out right."""

    @property
    def prefix_queries(self) -> int:
        """Number of prompt tokens that were looked up in the prefix cache since the start."""

    @property
    def prefix_hits(self) -> int:
        """Number of prompt tokens that were found in the prefix cache since the start."""

    @property
    def tokens(self) -> int:
        """Number of tokens of all prefill and decode steps since the start."""

    @property
    def step_tokens(self) -> Mapping[float, int]:
        """Number of prefill and decode steps by their numbers of tokens, as in a histogram.

        The keys are upper bounds. Each step is counted once: at the smallest bound that is at least its number of
        tokens.
        """


class ObservableEngine(Protocol):
    """An engine whose prefix cache can be observed."""

    def observe_cache(self, observer: CacheObserver, model: str) -> None:
        """Sends all changes of the prefix caches to `observer`. Call it before the engine starts.

        The changes identify chunks of tokens by hashes. The hashes also depend on `model`, the id of the model.
        """


class LocalBackend(ChatBackend, Protocol):
    """A backend whose engines run in this process."""

    async def start(self) -> None: ...

    async def drain(self, shutdown_grace: float) -> None:
        """Rejects new requests, and waits at most `shutdown_grace` seconds for the open ones to end."""

    async def close(self) -> None: ...


class Session(LocalBackend, Protocol):
    """A backend with one model and its engine, such as the result of `jaxchat.api.load_session`."""

    @property
    def model_id(self) -> str: ...

    @property
    def info(self) -> ModelInfo: ...

    @property
    def failed(self) -> asyncio.Event:
        """An event that is set when the engine fails."""

    @property
    def engine(self) -> ObservableEngine: ...

    @property
    def observers(self) -> list[Observer]: ...

    @property
    def stats(self) -> Load: ...

    @property
    def compiles_after_ready(self) -> int: ...

    def fail(self) -> None:
        """Ends all requests with the error of a failed engine, without waiting for the engine."""

    def forget_prefixes(self) -> None:
        """Drops the cached prefixes that no sequence uses."""

    def summary(self) -> list[tuple[str, str]]: ...


async def find_model(backend: ChatBackend, model_id: str, call: RequestContext) -> v1.Model:
    """Returns the model with the id `model_id`. Raises `ChatError`, with status 404 if the backend lacks the model."""
    models = await backend.models(call)
    for model in models:
        if model.id == model_id:
            return model
    raise model_not_found(model_id, [model.id for model in models])


def request_id_from(header: str | None) -> str:
    """Returns the request id in a client's header, or a new id if the header is missing or malformed.

    A request id has 1 to 64 letters, digits, dots, underscores or dashes.
    """
    if header and _REQUEST_ID.fullmatch(header):
        return header
    return f"req_{secrets.token_hex(12)}"
