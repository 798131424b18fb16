"""The client for asyncio: the interface of `Client` with `await`."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypeVar, Unpack, overload

from jaxchat.client import html, parsing
from jaxchat.client.completion import ChatCompletion
from jaxchat.client.grpc import AsyncGrpcTransport, GrpcOptions
from jaxchat.client.models import Model, ModelList, find_model
from jaxchat.client.params import ChatParams, ParseParams
from jaxchat.client.request import build_request, build_tokenize_request
from jaxchat.client.stream import AsyncStream
from jaxchat.client.text import AsyncTextCompletions
from jaxchat.client.text_completion import Tokenized
from jaxchat.client.text_params import TokenizeParams
from jaxchat.client.transport import AsyncTransport, client_closed
from jaxchat.openai_json import detokenize_from_json

if TYPE_CHECKING:
    from pydantic import BaseModel

    ModelT = TypeVar("ModelT", bound=BaseModel)


class AsyncClient:
    """A client with the interface of `openai.AsyncOpenAI`. It belongs to one asyncio loop.

    Cancelling a task that awaits an answer cancels the answer. The attribute `transport` is the connection to the
    engine.

    Args:
        transport: a gRPC target such as `host:port`, several targets in a list or separated by commas
            (docs/failover.md), or a transport. `jaxchat.load_async()` returns a client of an engine in this process.
        options: the fields of `GrpcOptions`: `api_key`, `credentials`, `timeout`, `headers`. Only a gRPC target takes
            options.

    Raises:
        TypeError: options are given with a transport.
        ValueError: the gRPC target is empty.
    """

    def __init__(self, transport: AsyncTransport | str | Sequence[str], /, **options: Unpack[GrpcOptions]) -> None:
        if isinstance(transport, str | Sequence):
            transport = AsyncGrpcTransport(transport, **options)
        elif options:
            raise TypeError(f"only a gRPC target takes options, got {', '.join(options)}")
        self.transport: AsyncTransport = transport
        self.chat = AsyncChat(self)
        self.completions = AsyncTextCompletions(self)
        self.models = AsyncModels(self)
        self._closed = False

    def __repr__(self) -> str:
        return f"<AsyncClient of {self.transport!r}{', closed' if self._closed else ''}>"

    def _repr_html_(self) -> str:
        return html.client_html(repr(self), () if self._closed else getattr(self.transport, "facts", ()))

    def open_transport(self) -> AsyncTransport:
        """Returns the transport. Raises `ChatError` once the client is closed."""
        if self._closed:
            raise client_closed()
        return self.transport

    async def tokenize(self, **params: Unpack[TokenizeParams]) -> Tokenized:
        """Returns the token ids of a text (`prompt`) or of a conversation (`messages`).

        Raises:
            ChatError: a parameter is unknown or invalid, or the call fails.
        """
        transport = self.open_transport()
        request = build_tokenize_request(params)
        return Tokenized.from_proto(await transport.tokenize(request), with_names=request.return_token_strs)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """Returns the text of token ids, with the names of control tokens.

        Raises:
            ChatError: a token id is not in the model's vocabulary, or the call fails.
        """
        request = detokenize_from_json({"tokens": tokens})
        return (await self.open_transport().detokenize(request)).prompt

    async def close(self) -> None:
        """Closes a connection over gRPC, or stops an engine in this process. Later calls raise `ChatError`."""
        self._closed = True
        await self.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncChat:
    """The attribute `chat` of `AsyncClient`. Its attribute `completions` creates answers."""

    def __init__(self, client: AsyncClient) -> None:
        self.completions = AsyncCompletions(client)


class AsyncCompletions:
    """The attribute `chat.completions` of `AsyncClient`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    @overload
    async def create(
        self, *, stream: Literal[False] | None = None, timeout: float | None = None, **params: Unpack[ChatParams]
    ) -> ChatCompletion: ...

    @overload
    async def create(
        self, *, stream: Literal[True], timeout: float | None = None, **params: Unpack[ChatParams]
    ) -> AsyncStream: ...

    @overload
    async def create(
        self, *, stream: bool | None, timeout: float | None = None, **params: Unpack[ChatParams]
    ) -> ChatCompletion | AsyncStream: ...

    async def create(
        self, *, stream: bool | None = None, timeout: float | None = None, **params: Unpack[ChatParams]
    ) -> ChatCompletion | AsyncStream:
        """Returns an answer, or with `stream=True` an asynchronous iterator of its chunks.

        Args:
            stream: whether to stream the answer in chunks.
            timeout: seconds for the whole answer. None means the `timeout` of a gRPC client, and no limit in process.
            params: the fields of the chat completions API.

        Raises:
            ChatError: a parameter is unknown or invalid, the request fails, or `timeout` passes (status 504). Iterating
                over a stream can raise it too.
        """
        transport = self._client.open_transport()
        parsed = build_request(params, stream=stream, default_model=transport.default_model)
        if parsed.stream:
            chunks = transport.stream(parsed.request, timeout)
            return await AsyncStream(chunks, include_usage=parsed.include_usage).open()
        return ChatCompletion.from_proto(await transport.complete(parsed.request, timeout))

    async def parse(
        self, *, response_format: type[ModelT], timeout: float | None = None, **params: Unpack[ParseParams]
    ) -> parsing.ParsedChatCompletion[ModelT]:
        """Returns an answer in the form of a pydantic model: `answer.choices[0].message.parsed`.

        `parsed` is None for an answer that called tools.

        Args:
            response_format: the model class. Its JSON Schema is enforced while the answer is made.
            timeout: seconds for the whole answer. None means the `timeout` of a gRPC client, and no limit in process.
            params: the other fields of the chat completions API.

        Raises:
            ChatError: `response_format` is not a pydantic model class, the request is rejected or fails, `timeout`
                passes (status 504), or an answer was cut at its token limit.
            ImportError: pydantic is not installed.
            pydantic.ValidationError: the model class rejects an answer, for example by its own validators.
        """
        transport = self._client.open_transport()
        fields = {**params, "response_format": parsing.response_format_of(response_format)}
        parsed = build_request(fields, stream=None, default_model=transport.default_model)
        return parsing.parse_completion(await transport.complete(parsed.request, timeout), response_format)


class AsyncModels:
    """The attribute `models` of `AsyncClient`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def retrieve(self, model: str) -> Model:
        """Returns the model with this id. Raises `ChatError`, with status 404 if the id is unknown."""
        return find_model(await self.list(), model)

    async def list(self) -> ModelList:
        """Returns the models that requests may name. Raises `ChatError` if the call fails."""
        return ModelList.from_protos(await self._client.open_transport().list_models())
