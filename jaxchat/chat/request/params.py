"""Reads the settings of a validated request. Absent settings get the defaults of the API."""

from __future__ import annotations

import secrets

from jaxchat import v1
from jaxchat.chat.request.tool_choice import ToolChoice
from jaxchat.chat.response.choice import ChoiceOptions
from jaxchat.chat.tools.format import UNKNOWN, ToolFormat
from jaxchat.chat.tools.signatures import Signatures
from jaxchat.config import NamedFinish
from jaxchat.errors import invalid, unsupported
from jaxchat.types import SamplingParams


def choices(request: v1.ChatCompletionRequest) -> int:
    """Returns the number of choices: `n`, or 1 if `n` is absent."""
    return request.n if request.HasField("n") else 1


def sampling(request: v1.ChatCompletionRequest) -> SamplingParams:
    """Returns the sampling parameters. Draws a seed of 64 bits from the operating system if the request has none."""
    seed = request.seed if request.HasField("seed") else secrets.randbits(64)
    return SamplingParams(
        temperature=request.temperature if request.HasField("temperature") else 1.0,
        top_p=request.top_p if request.HasField("top_p") else 1.0,
        frequency_penalty=request.frequency_penalty,
        presence_penalty=request.presence_penalty,
        repetition_penalty=request.repetition_penalty if request.HasField("repetition_penalty") else 1.0,
        top_k=request.top_k,
        min_p=request.min_p,
        seed=seed & (2**64 - 1),
        logprobs=request.logprobs,
        logit_bias=tuple(sorted(request.logit_bias.items())),
    )


def draft_tokens(request: v1.ChatCompletionRequest, context: int, vocab: int) -> tuple[tuple[int, ...], ...]:
    """Returns the expected first tokens of each choice.

    The first entry is for choice 0. There may be fewer entries than choices.

    Args:
        request: a validated request.
        context: maximum length of a prompt with its answer, in tokens.
        vocab: number of token ids.

    Raises:
        ChatError: 400 on `draft_tokens` if there are more entries than choices. 400 on an entry if it has more than
            `context` tokens, or a token id out of bounds.
    """
    if (entries := len(request.draft_tokens)) > choices(request):
        raise invalid("draft_tokens", f"at most n entries are allowed, {choices(request)}, got {entries}.")
    for index, draft in enumerate(request.draft_tokens):
        path = f"draft_tokens.{index}.token_ids"
        if len(draft.token_ids) > context:
            raise invalid(path, f"at most {context} token ids are allowed, got {len(draft.token_ids)}.")
        for token in draft.token_ids:
            if not 0 <= token < vocab:
                raise invalid(path, f"token ids are from 0 to {vocab - 1}, got {token}.")
    return tuple(tuple(draft.token_ids) for draft in request.draft_tokens)


def requested_tokens(request: v1.ChatCompletionRequest) -> int | None:
    """Returns `max_tokens` or `max_completion_tokens`, the limit of an answer in tokens, or None if both are absent."""
    for name in ("max_tokens", "max_completion_tokens"):
        if request.HasField(name):
            tokens: int = getattr(request, name)
            return tokens
    return None


def stop_tokens(request: v1.ChatCompletionRequest, own: frozenset[int], *, constrained: bool) -> frozenset[int]:
    """Returns the ids of the tokens that end an answer.

    Args:
        request: a validated request.
        own: the model's own stop tokens.
        constrained: whether a grammar constrains the answer.

    Raises:
        ChatError: 400 on `ignore_eos` if a grammar constrains the answer, because the grammar ends with a stop token.
    """
    if request.ignore_eos and constrained:
        message = "only allowed without response_format, structured_outputs and tools: their grammars end the answer."
        raise invalid("ignore_eos", message)
    return frozenset(request.stop_token_ids) | (frozenset() if request.ignore_eos else own)


def check_callable(tool_choice: ToolChoice, tool_format: ToolFormat) -> None:
    """Raises `ChatError` 400 if a request allows calls and the model's tool format is unknown."""
    if tool_choice.visible and tool_format is UNKNOWN:
        message = (
            "The format in which this model writes tool calls is not known: its chat template shows none that the "
            "server reads. The operator can name one with --tool-format."
        )
        raise unsupported("functions" if tool_choice.legacy else "tools", message)


def choice_options(
    request: v1.ChatCompletionRequest,
    tool_choice: ToolChoice,
    named_finish: NamedFinish,
    tool_format: ToolFormat,
) -> ChoiceOptions:
    """Returns the settings for turning the tokens of a choice into output.

    Args:
        request: a validated request.
        tool_choice: the tool choice of the request.
        named_finish: the finish reason of an answer that had to call a named function. Has no effect on legacy
            functions.
        tool_format: how the model writes calls.
    """
    return ChoiceOptions(
        stops=tuple(request.stop),
        min_tokens=request.min_tokens,
        token_ids=request.return_token_ids,
        calls=tool_format,
        signatures=Signatures(tuple(tool_choice.callable)),
        callable=tool_choice.visible,
        forced=tool_choice.mode == "required",
        called=_called(tool_choice, named_finish),
        top_logprobs=request.top_logprobs if request.logprobs else None,
        exact_logprobs=request.exact_logprobs,
    )


def _called(tool_choice: ToolChoice, named_finish: NamedFinish) -> v1.FinishReason:
    if tool_choice.legacy:
        return v1.FINISH_REASON_FUNCTION_CALL
    mimics = tool_choice.named and named_finish == "stop"
    return v1.FINISH_REASON_STOP if mimics else v1.FINISH_REASON_TOOL_CALLS
