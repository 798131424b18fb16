"""A typed client with the interface of the `openai` package, over gRPC or in process.

    client = Client("localhost:50051")
    answer = client.chat.completions.create(model="...", messages=[{"role": "user", "content": "Hello"}])
    print(answer.choices[0].message.content)

Importing this package loads grpc and protobuf, but neither jax nor NumPy.
"""

from jaxchat.client.async_client import AsyncClient
from jaxchat.client.chunk import ChatCompletionChunk, ChunkChoice, Delta, FunctionCallDelta, ToolCallDelta
from jaxchat.client.client import Client
from jaxchat.client.completion import (
    AssistantMessage,
    ChatCompletion,
    Choice,
    ChoiceLogprobs,
    FinishReason,
    FunctionCall,
    TokenLogprob,
    ToolCall,
    TopLogprob,
)
from jaxchat.client.credentials import tls_credentials
from jaxchat.client.models import ChatTemplate, Model, ModelList, PromptWriter
from jaxchat.client.params import ChatParams, MessageParam
from jaxchat.client.parsing import ParsedChatCompletion, ParsedChoice, ParsedMessage
from jaxchat.client.stream import AsyncStream, AsyncTextStream, Stream, TextStream
from jaxchat.client.text_completion import TextChoice, TextCompletion, TextLogprobs, TextTokenLogprob, Tokenized
from jaxchat.client.text_params import TextParams, TokenizeParams
from jaxchat.client.transport import AsyncTransport, Transport
from jaxchat.client.usage import CompletionTokensDetails, PromptTokensDetails, Usage

__all__ = [
    "AssistantMessage",
    "AsyncClient",
    "AsyncStream",
    "AsyncTextStream",
    "AsyncTransport",
    "ChatCompletion",
    "ChatCompletionChunk",
    "ChatParams",
    "ChatTemplate",
    "Choice",
    "ChoiceLogprobs",
    "ChunkChoice",
    "Client",
    "CompletionTokensDetails",
    "Delta",
    "FinishReason",
    "FunctionCall",
    "FunctionCallDelta",
    "MessageParam",
    "Model",
    "ModelList",
    "ParsedChatCompletion",
    "ParsedChoice",
    "ParsedMessage",
    "PromptTokensDetails",
    "PromptWriter",
    "Stream",
    "TextChoice",
    "TextCompletion",
    "TextLogprobs",
    "TextParams",
    "TextStream",
    "TextTokenLogprob",
    "TokenLogprob",
    "TokenizeParams",
    "Tokenized",
    "ToolCall",
    "ToolCallDelta",
    "TopLogprob",
    "Transport",
    "Usage",
    "tls_credentials",
]
