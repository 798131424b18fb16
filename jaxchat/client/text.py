"""The attribute `completions` of clients: text completions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack, overload

from jaxchat.client.request import build_text_request
from jaxchat.client.stream import AsyncTextStream, TextStream
from jaxchat.client.text_completion import TextCompletion
from jaxchat.client.text_params import TextParams

if TYPE_CHECKING:
    from jaxchat.client.async_client import AsyncClient
    from jaxchat.client.client import Client


class TextCompletions:
    """The attribute `completions` of `Client`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @overload
    def create(
        self, *, stream: Literal[False] | None = None, timeout: float | None = None, **params: Unpack[TextParams]
    ) -> TextCompletion: ...

    @overload
    def create(
        self, *, stream: Literal[True], timeout: float | None = None, **params: Unpack[TextParams]
    ) -> TextStream: ...

    @overload
    def create(
        self, *, stream: bool | None, timeout: float | None = None, **params: Unpack[TextParams]
    ) -> TextCompletion | TextStream: ...

    def create(
        self, *, stream: bool | None = None, timeout: float | None = None, **params: Unpack[TextParams]
    ) -> TextCompletion | TextStream:
        """Returns the continuations of texts, or with `stream=True` an iterator of their parts.

        Args:
            stream: whether to stream the completions in parts.
            timeout: seconds for the whole answer. None means the `timeout` of a gRPC client, and no limit in process.
            params: the fields of the completions API.

        Raises:
            ChatError: a parameter is unknown or invalid, the request fails, or `timeout` passes (status 504). Iterating
                over a stream can raise it too.
        """
        transport = self._client.open_transport()
        parsed = build_text_request(params, stream=stream, default_model=transport.default_model)
        if parsed.stream:
            return TextStream(transport.stream_text(parsed.request, timeout), include_usage=parsed.include_usage)
        return TextCompletion.from_proto(transport.complete_text(parsed.request, timeout))


class AsyncTextCompletions:
    """The attribute `completions` of `AsyncClient`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    @overload
    async def create(
        self, *, stream: Literal[False] | None = None, timeout: float | None = None, **params: Unpack[TextParams]
    ) -> TextCompletion: ...

    @overload
    async def create(
        self, *, stream: Literal[True], timeout: float | None = None, **params: Unpack[TextParams]
    ) -> AsyncTextStream: ...

    @overload
    async def create(
        self, *, stream: bool | None, timeout: float | None = None, **params: Unpack[TextParams]
    ) -> TextCompletion | AsyncTextStream: ...

    async def create(
        self, *, stream: bool | None = None, timeout: float | None = None, **params: Unpack[TextParams]
    ) -> TextCompletion | AsyncTextStream:
        """Returns the continuations of texts, or with `stream=True` an asynchronous iterator of their parts.

        Args:
            stream: whether to stream the completions in parts.
            timeout: seconds for the whole answer. None means the `timeout` of a gRPC client, and no limit in process.
            params: the fields of the completions API.

        Raises:
            ChatError: a parameter is unknown or invalid, the request fails, or `timeout` passes (status 504). Iterating
                over a stream can raise it too.
        """
        transport = self._client.open_transport()
        parsed = build_text_request(params, stream=stream, default_model=transport.default_model)
        if parsed.stream:
            parts = transport.stream_text(parsed.request, timeout)
            return await AsyncTextStream(parts, include_usage=parsed.include_usage).open()
        return TextCompletion.from_proto(await transport.complete_text(parsed.request, timeout))
