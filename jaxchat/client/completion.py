"""Answers as typed objects. Each object has its protobuf message in `proto`, and `model_dump()` returns its JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Self

from google.protobuf.message import Message

from jaxchat import v1
from jaxchat.client import display
from jaxchat.openai_json import answer_to_json
from jaxchat.openai_json.enums import FINISH_REASONS

Bytes = bytes  # a field named `bytes` hides the type
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


@dataclass(frozen=True, repr=False, kw_only=True)
class AnswerObject:
    """An answer or a part of an answer. `proto` is the protobuf message that the object was made from."""

    proto: Message = field(compare=False, repr=False)

    def model_dump(self) -> dict[str, Any]:
        """Returns the JSON object that the REST API sends for this object. It omits `seed_used` and `token_id`."""
        return answer_to_json(self.proto)

    def __repr__(self) -> str:
        return display.short_repr(self)


def token_ids(proto: Any, name: str) -> tuple[int, ...] | None:
    """Returns the token ids in the field `name` of a message, or None if there are none."""
    return tuple(getattr(proto, name)) or None


def optional(proto: Any, name: str) -> Any:
    """Returns the field `name` of a message, or None if the field is not set."""
    return getattr(proto, name) if proto.HasField(name) else None


@dataclass(frozen=True, repr=False, kw_only=True)
class FunctionCall(AnswerObject):
    """A call of a function: its `name`, and its `arguments` as JSON text. Chunks have `FunctionCallDelta` instead.

    The text is incomplete if the answer stops within the call, for example at `max_tokens`.
    """

    name: str
    arguments: str

    @classmethod
    def from_proto(cls, proto: v1.FunctionCall) -> Self:
        return cls(proto=proto, name=proto.name, arguments=proto.arguments)


@dataclass(frozen=True, repr=False, kw_only=True)
class ToolCall(AnswerObject):
    """A call of a tool. The message with the tool's result repeats `id` as `tool_call_id`."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall

    @classmethod
    def from_proto(cls, proto: v1.ToolCall) -> Self:
        return cls(proto=proto, id=proto.id, function=FunctionCall.from_proto(proto.function))


@dataclass(frozen=True, repr=False, kw_only=True)
class AssistantMessage(AnswerObject):
    """A message of the assistant. `content` is None if the message has only calls.

    `reasoning_content` has the thoughts of models that think, which precede the content.

    This object may stand in `messages` of a later request.
    """

    role: Literal["assistant"] = "assistant"
    content: str | None
    tool_calls: tuple[ToolCall, ...] | None = None
    function_call: FunctionCall | None = None
    reasoning_content: str | None = None

    @classmethod
    def from_proto(cls, proto: v1.AssistantMessage, **more: Any) -> Self:
        calls = tuple(map(ToolCall.from_proto, proto.tool_calls))
        legacy = FunctionCall.from_proto(proto.function_call) if proto.HasField("function_call") else None
        return cls(
            proto=proto,
            content=optional(proto, "content"),
            tool_calls=calls or None,
            function_call=legacy,
            reasoning_content=optional(proto, "reasoning_content"),
            **more,
        )

    def _repr_markdown_(self) -> str:
        return display.message_markdown(self)


@dataclass(frozen=True, repr=False, kw_only=True)
class TopLogprob(AnswerObject):
    """One of the likeliest tokens at a position, with its natural log-probability. `bytes` is as in `TokenLogprob`."""

    token: str
    logprob: float
    bytes: Bytes | None
    token_id: int

    @classmethod
    def from_proto(cls, proto: v1.TopLogprob) -> Self:
        data = optional(proto, "bytes")
        return cls(proto=proto, token=proto.token, logprob=proto.logprob, bytes=data, token_id=proto.token_id)


@dataclass(frozen=True, repr=False, kw_only=True)
class TokenLogprob(AnswerObject):
    """A token of the content, with its natural log-probability.

    `logprob` is -9999 if the token is not among the 20 likeliest and the request does not ask for `exact_logprobs`.

    `bytes` may be less than a whole character, and is None for a token without text. `token` is the text of `bytes`. If
    `bytes` is not valid UTF-8, `token` has each byte as `\\xhh`.
    """

    token: str
    logprob: float
    bytes: Bytes | None
    token_id: int
    top_logprobs: tuple[TopLogprob, ...]

    @classmethod
    def from_proto(cls, proto: v1.TokenLogprob) -> Self:
        data = optional(proto, "bytes")
        top = tuple(map(TopLogprob.from_proto, proto.top_logprobs))
        return cls(
            proto=proto,
            token=proto.token,
            logprob=proto.logprob,
            bytes=data,
            token_id=proto.token_id,
            top_logprobs=top,
        )


@dataclass(frozen=True, repr=False, kw_only=True)
class ChoiceLogprobs(AnswerObject):
    """The log-probabilities of a choice.

    In a whole answer, `content` has one entry for each token of the message's content, or is None if the message has
    only calls. In a chunk, `content` has one entry for each token of the chunk's content.
    """

    content: tuple[TokenLogprob, ...] | None

    @classmethod
    def from_proto(cls, proto: v1.ChoiceLogprobs, *, has_content: bool = True) -> Self:
        return cls(proto=proto, content=tuple(map(TokenLogprob.from_proto, proto.content)) if has_content else None)

    def model_dump(self) -> dict[str, Any]:
        """Returns the JSON object that the REST API sends for these log-probabilities. It omits `token_id`."""
        return {"content": None if self.content is None else [entry.model_dump() for entry in self.content]}


@dataclass(frozen=True, repr=False, kw_only=True)
class Choice(AnswerObject):
    """One of the `n` answers. `logprobs` and `token_ids` are None unless the request asks for them."""

    index: int
    message: AssistantMessage
    finish_reason: FinishReason | None
    logprobs: ChoiceLogprobs | None = None
    token_ids: tuple[int, ...] | None = None

    @classmethod
    def from_proto(cls, proto: v1.Choice) -> Self:
        return cls(**choice_fields(proto), message=AssistantMessage.from_proto(proto.message))


def choice_fields(proto: v1.Choice) -> dict[str, Any]:
    """Returns the keyword arguments of `Choice` except `message`."""
    logprobs = None
    if proto.HasField("logprobs"):
        logprobs = ChoiceLogprobs.from_proto(proto.logprobs, has_content=proto.message.HasField("content"))
    reason = FINISH_REASONS[proto.finish_reason]
    ids = token_ids(proto, "token_ids")
    return {"proto": proto, "index": proto.index, "finish_reason": reason, "logprobs": logprobs, "token_ids": ids}


@dataclass(frozen=True, repr=False, kw_only=True)
class PromptTokensDetails(AnswerObject):
    """Counts of a prompt's tokens. `cached_tokens` counts those that were in the prefix cache and not computed."""

    cached_tokens: int

    @classmethod
    def from_proto(cls, proto: v1.PromptTokensDetails) -> Self:
        return cls(proto=proto, cached_tokens=proto.cached_tokens)


@dataclass(frozen=True, repr=False, kw_only=True)
class CompletionTokensDetails(AnswerObject):
    """Counts of tokens, summed over all choices.

    Tokens of the request's `prediction` are accepted if the answer repeats them, and rejected otherwise. Both counts
    are None if the request has no prediction.

    `reasoning_tokens` counts the tokens of thoughts, without the markers around them. It is None if the server does not
    separate thoughts from answers.
    """

    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None
    reasoning_tokens: int | None = None

    @classmethod
    def from_proto(cls, proto: v1.CompletionTokensDetails) -> Self:
        accepted, rejected = (optional(proto, f"{word}_prediction_tokens") for word in ("accepted", "rejected"))
        return cls(
            proto=proto,
            accepted_prediction_tokens=accepted,
            rejected_prediction_tokens=rejected,
            reasoning_tokens=optional(proto, "reasoning_tokens"),
        )


@dataclass(frozen=True, repr=False, kw_only=True)
class Usage(AnswerObject):
    """Token counts. `prompt_tokens` counts the prompt once, `completion_tokens` counts the tokens of all choices.

    `prompt_tokens_details` is None if the server's version does not send it. `completion_tokens_details` is None
    unless the request has a prediction or the model thinks.
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None

    @classmethod
    def from_proto(cls, proto: v1.Usage) -> Self:
        prompt, completion = (optional(proto, f"{part}_tokens_details") for part in ("prompt", "completion"))
        return cls(
            proto=proto,
            prompt_tokens=proto.prompt_tokens,
            completion_tokens=proto.completion_tokens,
            total_tokens=proto.total_tokens,
            prompt_tokens_details=PromptTokensDetails.from_proto(prompt) if prompt else None,
            completion_tokens_details=CompletionTokensDetails.from_proto(completion) if completion else None,
        )


@dataclass(frozen=True, repr=False, kw_only=True)
class ChatCompletion(AnswerObject):
    """A whole answer. `created` is in Unix seconds. `seed_used` is the request's seed, or the seed drawn for it.

    `prompt_token_ids` is None unless the request asks for token ids.
    """

    proto: v1.ChatCompletion = field(compare=False, repr=False)
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str
    choices: tuple[Choice, ...]
    usage: Usage
    seed_used: int | None = None
    prompt_token_ids: tuple[int, ...] | None = None

    @classmethod
    def from_proto(cls, proto: v1.ChatCompletion) -> Self:
        return cls(**completion_fields(proto), choices=tuple(map(Choice.from_proto, proto.choices)))

    def __repr__(self) -> str:
        return display.completion_repr(self)

    def _repr_markdown_(self) -> str:
        return display.completion_markdown(self)


def completion_fields(proto: v1.ChatCompletion) -> dict[str, Any]:
    """Returns the keyword arguments of `ChatCompletion` except `choices`."""
    return {
        "proto": proto,
        "id": proto.id,
        "created": proto.created,
        "model": proto.model,
        "system_fingerprint": proto.system_fingerprint,
        "usage": Usage.from_proto(proto.usage),
        "seed_used": optional(proto, "seed_used"),
        "prompt_token_ids": token_ids(proto, "prompt_token_ids"),
    }
