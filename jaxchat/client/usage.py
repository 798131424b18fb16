"""Counts of tokens as typed objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from jaxchat import v1
from jaxchat.client.answer_object import AnswerObject, optional


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
