"""Types of the parameters of `client.chat.completions.create`: the fields of the chat completions API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, Protocol, Required, TypeAlias, TypedDict

from jaxchat import v1

RoleName = Literal["system", "developer", "user", "assistant", "tool", "function"]
ToolChoiceMode = Literal["none", "auto", "required"]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class SupportsModelDump(Protocol):
    """An object whose `model_dump()` returns its JSON object, such as the message of an earlier answer."""

    def model_dump(self) -> dict[str, Any]: ...


class TextPartParam(TypedDict):
    """A text part of a message's content. The parts are joined without a separator."""

    type: Literal["text"]
    text: str


class RefusalPartParam(TypedDict):
    """A part of an assistant message's content that says why the assistant declined to answer."""

    type: Literal["refusal"]
    refusal: str


class FunctionCallParam(TypedDict):
    """A call that the assistant made. `arguments` is JSON text."""

    name: str
    arguments: str


class ToolCallParam(TypedDict):
    """A tool call that the assistant made. `index` is accepted because calls in chunks have it. It has no effect."""

    id: str
    type: Literal["function"]
    function: FunctionCallParam
    index: NotRequired[int]


class MessageParam(TypedDict, total=False):
    """A message of the conversation.

    The role "tool" requires `tool_call_id`, and "function" requires `name`. Only the role "assistant" may have
    `tool_calls` or `function_call`. `content` may be absent with the roles "assistant" and "function". With the role
    "function" it must be a string.

    Only the role "assistant" may have `refusal`. The `content` must then be absent, empty or the same text. Only this
    role may have `reasoning_content`, the thoughts of an earlier answer, for chat templates that show them.

    `annotations`, `id` and `parsed` have no effect. They are accepted because messages of earlier answers have them.
    """

    role: Required[RoleName]
    content: str | Sequence[TextPartParam | RefusalPartParam] | None
    name: str
    tool_calls: Sequence[ToolCallParam]
    function_call: FunctionCallParam
    tool_call_id: str
    refusal: str | None
    reasoning_content: str | None
    annotations: Sequence[Any] | None
    id: str | None
    parsed: Any


class FunctionParam(TypedDict, total=False):
    """A function that the model may call.

    `name` has 1 to 64 letters, digits, underscores or dashes. `description` is for the model. `parameters` is a JSON
    Schema object; without it, the function takes no arguments. Calls always follow the schema. With `strict`, unknown
    keywords in the schema are errors.
    """

    name: Required[str]
    description: str
    parameters: Mapping[str, Any]
    strict: bool


class ToolParam(TypedDict):
    """A tool that the model may call."""

    type: Literal["function"]
    function: FunctionParam


class FunctionNameParam(TypedDict):
    """The name of a function."""

    name: str


class NamedToolChoiceParam(TypedDict):
    """A tool choice that requires a call of the named tool."""

    type: Literal["function"]
    function: FunctionNameParam


class JsonSchemaParam(TypedDict, total=False):
    """A JSON Schema for the answer's text.

    `name` has 1 to 64 letters, digits, underscores or dashes. `description` is added to the prompt. Without `schema`,
    any JSON is allowed. The answer always follows the schema. With `strict`, unknown keywords in the schema are errors.
    """

    name: Required[str]
    description: str
    schema: Mapping[str, Any]
    strict: bool


class ResponseFormatParam(TypedDict, total=False):
    """The format of the answer's text.

    The type "json_schema" requires `json_schema`. The other types forbid it. For "json_object", a message must contain
    the word "json".
    """

    type: Required[Literal["text", "json_object", "json_schema"]]
    json_schema: JsonSchemaParam


class StreamOptionsParam(TypedDict, total=False):
    """Options of a streamed answer. With `include_usage` the last chunk has the usage and no choices.

    `include_obfuscation` may only be false: chunks are never padded.
    """

    include_usage: bool
    include_obfuscation: Literal[False]


class StructuredOutputsParam(TypedDict, total=False):
    """Rules for the answer's text. Exactly one of them must be given.

    `regex` matches the whole text. `choice` lists the texts that are allowed. `grammar` is a Lark grammar whose first
    rule is `start`. `json` is a JSON Schema object, or its JSON text.
    """

    regex: str
    choice: Sequence[str]
    grammar: str
    json: Mapping[str, Any] | str


class PredictionParam(TypedDict):
    """A text that the answer is expected to be like. It saves time where it is right, and never changes the answer."""

    type: Literal["content"]
    content: str | Sequence[TextPartParam]


Message: TypeAlias = MessageParam | SupportsModelDump | v1.ChatMessage | v1.AssistantMessage


class GenerationParams(TypedDict, total=False):
    """Parameters that chat completions and text completions share. None means absent."""

    frequency_penalty: float | None
    presence_penalty: float | None
    logit_bias: Mapping[str, float] | None
    max_tokens: int | None
    n: int | None
    seed: int | None
    stop: str | Sequence[str] | None
    stream_options: StreamOptionsParam | None
    temperature: float | None
    top_p: float | None
    user: str | None
    top_k: int | None
    min_p: float | None
    repetition_penalty: float | None
    min_tokens: int | None
    ignore_eos: bool | None
    stop_token_ids: Sequence[int] | None
    return_token_ids: bool | None
    prediction: PredictionParam | None


class ParseParams(GenerationParams, total=False):
    """Parameters of `parse` besides `response_format` and `timeout`. For all except `model`, None means absent.

    `metadata` must be empty. `modalities`, `service_tier` and `store` may only ask for what is done anyway.
    """

    messages: Required[Sequence[Message]]
    model: str
    logprobs: bool | None
    top_logprobs: int | None
    max_completion_tokens: int | None
    tools: Sequence[ToolParam] | None
    tool_choice: ToolChoiceMode | NamedToolChoiceParam | None
    parallel_tool_calls: bool | None
    functions: Sequence[FunctionParam] | None
    function_call: Literal["none", "auto"] | FunctionNameParam | None
    exact_logprobs: bool | None
    chat_template_kwargs: Mapping[str, Any] | None
    reasoning_effort: ReasoningEffort | None
    metadata: Mapping[str, str] | None
    modalities: Sequence[Literal["text"]] | None
    service_tier: Literal["auto", "default"] | None
    store: Literal[False] | None


class ChatParams(ParseParams, total=False):
    """Parameters of `create` besides `stream` and `timeout`. A client in process needs no `model`."""

    response_format: ResponseFormatParam | None
    structured_outputs: StructuredOutputsParam | None
