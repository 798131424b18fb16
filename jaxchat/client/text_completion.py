"""Text completions and token ids as typed objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Self, cast

from jaxchat import v1
from jaxchat.client import html, html_tokens
from jaxchat.client.answer_object import AnswerObject, optional, token_ids
from jaxchat.client.completion import Bytes, FinishReason, TopLogprob
from jaxchat.client.usage import Usage
from jaxchat.openai_json import text_choice_to_json, text_logprobs_to_json, text_part_to_json, tokenized_to_json
from jaxchat.openai_json.enums import FINISH_REASONS


@dataclass(frozen=True, repr=False, kw_only=True)
class TextTokenLogprob(AnswerObject):
    """A token of a text. `logprob` is its natural log-probability, or None for the first token of a prompt.

    `text_offset` says where the token begins in the text, in characters. `bytes` is as in `TokenLogprob`.
    """

    token: str
    logprob: float | None
    top_logprobs: tuple[TopLogprob, ...]
    text_offset: int
    token_id: int
    bytes: Bytes | None = None

    @classmethod
    def from_proto(cls, proto: v1.TextTokenLogprob) -> Self:
        return cls(
            proto=proto,
            token=proto.token,
            logprob=optional(proto, "logprob"),
            top_logprobs=tuple(map(TopLogprob.from_proto, proto.top_logprobs)),
            text_offset=proto.text_offset,
            token_id=proto.token_id,
            bytes=optional(proto, "bytes"),
        )

    def model_dump(self) -> dict[str, Any]:
        """Returns the fields as JSON. The REST API sends them in four lists, see `TextLogprobs`."""
        top = [entry.model_dump() for entry in self.top_logprobs]
        return {
            "token": self.token,
            "logprob": self.logprob,
            "top_logprobs": top,
            "text_offset": self.text_offset,
        }


@dataclass(frozen=True, repr=False, kw_only=True)
class TextLogprobs(AnswerObject):
    """The log-probabilities of a text.

    `entries` has one object for each token. The other fields have the same values as four lists, with the names of the
    completions API. An item of `top_logprobs` maps texts of tokens to log-probabilities. If several tokens have the
    same text, the item has the log-probability of the likeliest. The item of a prompt's first token is None.
    """

    entries: tuple[TextTokenLogprob, ...]
    tokens: tuple[str, ...]
    token_logprobs: tuple[float | None, ...]
    top_logprobs: tuple[dict[str, float] | None, ...]
    text_offset: tuple[int, ...]

    @classmethod
    def from_proto(cls, proto: v1.TextLogprobs) -> Self:
        columns = text_logprobs_to_json(proto)
        entries = tuple(map(TextTokenLogprob.from_proto, proto.tokens))
        return cls(proto=proto, entries=entries, **{name: tuple(values) for name, values in columns.items()})

    def model_dump(self) -> dict[str, Any]:
        """Returns the JSON object that the REST API sends for these log-probabilities, without `content`."""
        return text_logprobs_to_json(cast(v1.TextLogprobs, self.proto))

    def _repr_html_(self) -> str:
        return html_tokens.tokens_html(self.entries)


@dataclass(frozen=True, repr=False, kw_only=True)
class TextChoice(AnswerObject):
    """A completion of a prompt, or its next part.

    If each prompt has `n` choices, choice i of prompt p has the index p * n + i. Numbers begin at 0.

    `logprobs`, `token_ids` and `prompt_token_ids` are None unless the request asks for them.
    """

    index: int
    text: str
    finish_reason: FinishReason | None
    logprobs: TextLogprobs | None = None
    token_ids: tuple[int, ...] | None = None
    prompt_token_ids: tuple[int, ...] | None = None
    accepted_drafts: tuple[int, ...] | None = None

    @classmethod
    def from_proto(cls, proto: v1.TextChoice) -> Self:
        reason: Any = FINISH_REASONS[proto.finish_reason]
        return cls(
            proto=proto,
            index=proto.index,
            text=proto.text,
            finish_reason=reason,
            logprobs=TextLogprobs.from_proto(proto.logprobs) if proto.HasField("logprobs") else None,
            token_ids=token_ids(proto, "token_ids"),
            prompt_token_ids=token_ids(proto, "prompt_token_ids"),
            accepted_drafts=token_ids(proto, "accepted_drafts"),
        )

    def model_dump(self) -> dict[str, Any]:
        """Returns the JSON object that the REST API sends for this choice, without `content` in `logprobs`."""
        return text_choice_to_json(cast(v1.TextChoice, self.proto))

    def _repr_html_(self) -> str | None:
        return html_tokens.tokens_html(self.logprobs.entries) if self.logprobs else None


@dataclass(frozen=True, repr=False, kw_only=True)
class TextCompletion(AnswerObject):
    """Whole text completions, or one part of a stream. `created` is in Unix seconds.

    In a stream, only the last part can have `usage`, and only if the request has `include_usage`.

    If the request has no seed, prompt number p, counted from 0, used the seed `seed_used` + p.
    """

    proto: v1.TextCompletion = field(compare=False, repr=False)
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str
    choices: tuple[TextChoice, ...]
    usage: Usage | None = None
    seed_used: int | None = None
    include_usage: bool = field(default=True, repr=False, compare=False)

    @classmethod
    def from_proto(cls, proto: v1.TextCompletion, *, include_usage: bool = True) -> Self:
        return cls(
            proto=proto,
            id=proto.id,
            created=proto.created,
            model=proto.model,
            system_fingerprint=proto.system_fingerprint,
            choices=tuple(map(TextChoice.from_proto, proto.choices)),
            usage=Usage.from_proto(proto.usage) if proto.HasField("usage") else None,
            seed_used=optional(proto, "seed_used"),
            include_usage=include_usage,
        )

    def model_dump(self) -> dict[str, Any]:
        """Returns the JSON object that the REST API sends for this object, without `seed_used` and `content`."""
        return text_part_to_json(self.proto, self.include_usage)

    def _repr_html_(self) -> str | None:
        return html.completion_html(self)


@dataclass(frozen=True, repr=False, kw_only=True)
class Tokenized(AnswerObject):
    """The token ids of a text or of a conversation. `token_strs` is None unless the request asks for it.

    `max_model_len` is the maximum number of tokens of a prompt and its answer together.
    """

    proto: v1.TokenizeResponse = field(compare=False, repr=False)
    count: int
    max_model_len: int
    tokens: tuple[int, ...]
    token_strs: tuple[str, ...] | None = None

    @classmethod
    def from_proto(cls, proto: v1.TokenizeResponse, *, with_names: bool) -> Self:
        names = tuple(proto.token_strs) if with_names else None
        tokens = tuple(proto.tokens)
        return cls(proto=proto, count=proto.count, max_model_len=proto.max_model_len, tokens=tokens, token_strs=names)

    def model_dump(self) -> dict[str, Any]:
        """Returns the JSON object that the REST API sends for this object."""
        return tokenized_to_json(self.proto, with_names=self.token_strs is not None)

    def _repr_html_(self) -> str:
        return html.tokenized_html(self)
