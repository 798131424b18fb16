"""Answers as typed objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Self

from jaxchat import v1
from jaxchat.client import display, html, html_tokens
from jaxchat.client.answer_object import AnswerObject, optional, token_ids
from jaxchat.client.usage import Usage
from jaxchat.openai_json.enums import FINISH_REASONS

Bytes = bytes  # a field named `bytes` hides the type
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


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

    def _repr_html_(self) -> str:
        return html_tokens.alternatives_html(self)


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

    def _repr_html_(self) -> str | None:
        return html_tokens.tokens_html(self.content) if self.content else None


@dataclass(frozen=True, repr=False, kw_only=True)
class Choice(AnswerObject):
    """One of the `n` answers. `logprobs`, `token_ids` and `accepted_drafts` are None unless a request asks for them."""

    index: int
    message: AssistantMessage
    finish_reason: FinishReason | None
    logprobs: ChoiceLogprobs | None = None
    token_ids: tuple[int, ...] | None = None
    accepted_drafts: tuple[int, ...] | None = None

    @classmethod
    def from_proto(cls, proto: v1.Choice) -> Self:
        return cls(**choice_fields(proto), message=AssistantMessage.from_proto(proto.message))

    def _repr_html_(self) -> str | None:
        return html.choice_html(self)


def choice_fields(proto: v1.Choice) -> dict[str, Any]:
    """Returns the keyword arguments of `Choice` except `message`."""
    logprobs = None
    if proto.HasField("logprobs"):
        logprobs = ChoiceLogprobs.from_proto(proto.logprobs, has_content=proto.message.HasField("content"))
    reason = FINISH_REASONS[proto.finish_reason]
    tokens = {name: token_ids(proto, name) for name in ("token_ids", "accepted_drafts")}
    return {"proto": proto, "index": proto.index, "finish_reason": reason, "logprobs": logprobs, **tokens}


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

    def _repr_html_(self) -> str | None:
        return html.completion_html(self)


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
