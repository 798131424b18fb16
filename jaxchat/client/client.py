"""The client for blocking code: one facade over any transport."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypeVar, Unpack, overload

from jaxchat.client import html, parsing
from jaxchat.client.completion import ChatCompletion
from jaxchat.client.grpc import GrpcOptions, GrpcTransport
from jaxchat.client.models import Model, ModelList, find_model
from jaxchat.client.params import ChatParams, ParseParams
from jaxchat.client.request import build_request, build_tokenize_request
from jaxchat.client.stream import Stream
from jaxchat.client.text import TextCompletions
from jaxchat.client.text_completion import Tokenized
from jaxchat.client.text_params import TokenizeParams
from jaxchat.client.transport import Transport, client_closed
from jaxchat.openai_json import detokenize_from_json

if TYPE_CHECKING:
    from pydantic import BaseModel

    ModelT = TypeVar("ModelT", bound=BaseModel)


class Client:
    """A client with the interface of `openai.OpenAI`, usable from several threads at once.

    The attribute `transport` is the connection to the engine.

    Args:
        transport: a gRPC target such as `host:port`, several targets in a list or separated by commas
            (docs/failover.md), or a transport. `jaxchat.load()` returns a client of an engine in this process.
        options: the fields of `GrpcOptions`: `api_key`, `credentials`, `timeout`, `headers`. Only a gRPC target takes
            options.

    Raises:
        TypeError: options are given with a transport.
        ValueError: the gRPC target is empty.
    """

    def __init__(self, transport: Transport | str | Sequence[str], /, **options: Unpack[GrpcOptions]) -> None:
        if isinstance(transport, str | Sequence):
            transport = GrpcTransport(transport, **options)
        elif options:
            raise TypeError(f"only a gRPC target takes options, got {', '.join(options)}")
        self.transport: Transport = transport
        self.chat = Chat(self)
        self.completions = TextCompletions(self)
        self.models = Models(self)
        self._closed = False

    def __repr__(self) -> str:
        return f"<Client of {self.transport!r}{', closed' if self._closed else ''}>"

    def _repr_html_(self) -> str:
        return html.client_html(repr(self), () if self._closed else getattr(self.transport, "facts", ()))

    def open_transport(self) -> Transport:
        """Returns the transport. Raises `ChatError` once the client is closed."""
        if self._closed:
            raise client_closed()
        return self.transport

    def tokenize(self, **params: Unpack[TokenizeParams]) -> Tokenized:
        """Returns the token ids of a text (`prompt`) or of a conversation (`messages`).

        Raises:
            ChatError: a parameter is unknown or invalid, or the call fails.
        """
        transport = self.open_transport()
        request = build_tokenize_request(params)
        return Tokenized.from_proto(transport.tokenize(request), with_names=request.return_token_strs)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Returns the text of token ids, with the names of control tokens.

        Raises:
            ChatError: a token id is not in the model's vocabulary, or the call fails.
        """
        request = detokenize_from_json({"tokens": tokens})
        return (self.open_transport().detokenize(request)).prompt

    def close(self) -> None:
        """Closes a connection over gRPC, or stops an engine in this process. Later calls raise `ChatError`."""
        self._closed = True
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Chat:
    """The attribute `chat` of `Client`. Its attribute `completions` creates answers."""

    def __init__(self, client: Client) -> None:
        self.completions = Completions(client)


class Completions:
    """The attribute `chat.completions` of `Client`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @overload
    def create(
        self, *, stream: Literal[False] | None = None, timeout: float | None = None, **params: Unpack[ChatParams]
    ) -> ChatCompletion: ...

    @overload
    def create(
        self, *, stream: Literal[True], timeout: float | None = None, **params: Unpack[ChatParams]
    ) -> Stream: ...

    @overload
    def create(
        self, *, stream: bool | None, timeout: float | None = None, **params: Unpack[ChatParams]
    ) -> ChatCompletion | Stream: ...

    def create(
        self, *, stream: bool | None = None, timeout: float | None = None, **params: Unpack[ChatParams]
    ) -> ChatCompletion | Stream:
        """Returns an answer, or with `stream=True` an iterator of its chunks.

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
            return Stream(transport.stream(parsed.request, timeout), include_usage=parsed.include_usage)
        return ChatCompletion.from_proto(transport.complete(parsed.request, timeout))

    def parse(
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
        return parsing.parse_completion(transport.complete(parsed.request, timeout), response_format)


class Models:
    """The attribute `models` of `Client`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def retrieve(self, model: str) -> Model:
        """Returns the model with this id. Raises `ChatError`, with status 404 if the id is unknown."""
        return find_model(self.list(), model)

    def list(self) -> ModelList:
        """Returns the models that requests may name. Raises `ChatError` if the call fails."""
        return ModelList.from_protos(self._client.open_transport().list_models())
