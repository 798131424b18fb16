"""Chunks of a streamed answer as typed objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Self

from jaxchat import v1
from jaxchat.client import html
from jaxchat.client.answer_object import AnswerObject, optional, token_ids
from jaxchat.client.completion import ChoiceLogprobs, FinishReason
from jaxchat.client.usage import Usage
from jaxchat.openai_json import chunk_to_json
from jaxchat.openai_json.enums import FINISH_REASONS


@dataclass(frozen=True, repr=False, kw_only=True)
class FunctionCallDelta(AnswerObject):
    """An addition to a function call. Only the first addition has `name`.

    The `arguments` of all additions, joined, are JSON text. The text is incomplete if the answer stops within the call,
    for example at `max_tokens`.
    """

    name: str | None = None
    arguments: str | None = None

    @classmethod
    def from_proto(cls, proto: v1.FunctionCall) -> Self:
        return cls(proto=proto, name=optional(proto, "name"), arguments=optional(proto, "arguments"))


@dataclass(frozen=True, repr=False, kw_only=True)
class ToolCallDelta(AnswerObject):
    """An addition to one tool call of a choice. `index` is the number of the call, counted from 0.

    Only the first addition to a call has `id` and `type`.
    """

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionCallDelta

    @classmethod
    def from_proto(cls, proto: v1.ToolCallDelta) -> Self:
        function = FunctionCallDelta.from_proto(proto.function)
        first = proto.HasField("id")
        return cls(
            proto=proto,
            index=proto.index,
            id=proto.id if first else None,
            type="function" if first else None,
            function=function,
        )


@dataclass(frozen=True, repr=False, kw_only=True)
class Delta(AnswerObject):
    """An addition to a message: thoughts or `content` to append, or additions to calls.

    Only a choice's first chunk has `role`. `reasoning_content` has the thoughts of models that think.
    """

    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] | None = None
    function_call: FunctionCallDelta | None = None
    reasoning_content: str | None = None

    @classmethod
    def from_proto(cls, proto: v1.Delta) -> Self:
        calls = tuple(map(ToolCallDelta.from_proto, proto.tool_calls))
        legacy = FunctionCallDelta.from_proto(proto.function_call) if proto.HasField("function_call") else None
        return cls(
            proto=proto,
            role="assistant" if proto.role else None,
            content=optional(proto, "content"),
            tool_calls=calls or None,
            function_call=legacy,
            reasoning_content=optional(proto, "reasoning_content"),
        )


@dataclass(frozen=True, repr=False, kw_only=True)
class ChunkChoice(AnswerObject):
    """The part of a chunk that belongs to one choice. Only a choice's last chunk has `finish_reason`.

    `token_ids` has the tokens since the choice's previous chunk, if the request asks for them.
    """

    index: int
    delta: Delta
    finish_reason: FinishReason | None = None
    logprobs: ChoiceLogprobs | None = None
    token_ids: tuple[int, ...] | None = None
    accepted_drafts: tuple[int, ...] | None = None

    @classmethod
    def from_proto(cls, proto: v1.ChunkChoice) -> Self:
        reason: Any = FINISH_REASONS[proto.finish_reason]
        logprobs = ChoiceLogprobs.from_proto(proto.logprobs) if proto.HasField("logprobs") else None
        delta = Delta.from_proto(proto.delta)
        return cls(
            proto=proto,
            index=proto.index,
            delta=delta,
            finish_reason=reason,
            logprobs=logprobs,
            token_ids=token_ids(proto, "token_ids"),
            accepted_drafts=token_ids(proto, "accepted_drafts"),
        )


@dataclass(frozen=True, repr=False, kw_only=True)
class ChatCompletionChunk(AnswerObject):
    """A part of a streamed answer. `id`, `created`, `model`, fingerprint and seed are equal in all parts.

    `created` is in Unix seconds. `usage` is None, except in the last chunk of a request with `include_usage`. Only the
    first chunk of a request with `return_token_ids` has `prompt_token_ids`.
    """

    proto: v1.ChatCompletionChunk = field(compare=False, repr=False)
    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str
    choices: tuple[ChunkChoice, ...]
    usage: Usage | None = None
    seed_used: int | None = None
    prompt_token_ids: tuple[int, ...] | None = None
    include_usage: bool = field(default=False, repr=False, compare=False)

    @classmethod
    def from_proto(cls, proto: v1.ChatCompletionChunk, *, include_usage: bool = False) -> Self:
        """Converts a protobuf chunk. With `include_usage`, `model_dump()` has the key `usage` in every chunk."""
        return cls(
            proto=proto,
            id=proto.id,
            created=proto.created,
            model=proto.model,
            system_fingerprint=proto.system_fingerprint,
            choices=tuple(map(ChunkChoice.from_proto, proto.choices)),
            usage=Usage.from_proto(proto.usage) if proto.HasField("usage") else None,
            seed_used=optional(proto, "seed_used"),
            prompt_token_ids=token_ids(proto, "prompt_token_ids"),
            include_usage=include_usage,
        )

    def model_dump(self) -> dict[str, Any]:
        """Returns the JSON object that the REST API sends for the chunk, without `seed_used` and `token_id`."""
        return chunk_to_json(self.proto, self.include_usage)

    def _repr_html_(self) -> str:
        return html.chunk_html(self)
