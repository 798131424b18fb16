"""Reads the settings of a validated request, with the API's defaults for absent ones."""

from __future__ import annotations

import secrets

from jaxchat import v1
from jaxchat.chat.request.tool_choice import ToolChoice, tool_choice_of
from jaxchat.chat.response.choice import ChoiceOptions
from jaxchat.chat.tools.format import HERMES, ToolFormat
from jaxchat.config import NamedFinish
from jaxchat.types import SamplingParams


def choices(request: v1.ChatCompletionRequest) -> int:
    """Returns n, 1 if absent."""
    return request.n if request.HasField("n") else 1


def sampling(request: v1.ChatCompletionRequest) -> SamplingParams:
    """Returns the sampling parameters. Draws 64 random bits from the operating system if the seed is absent."""
    seed = request.seed if request.HasField("seed") else secrets.randbits(64)
    return SamplingParams(
        temperature=request.temperature if request.HasField("temperature") else 1.0,
        top_p=request.top_p if request.HasField("top_p") else 1.0,
        frequency_penalty=request.frequency_penalty,
        presence_penalty=request.presence_penalty,
        seed=seed & (2**64 - 1),
        logprobs=request.logprobs,
        logit_bias=tuple(sorted(request.logit_bias.items())),
    )


def choice_options(
    request: v1.ChatCompletionRequest, named_finish: NamedFinish, tool_format: ToolFormat = HERMES
) -> ChoiceOptions:
    """Returns the options that turn tokens into output. `tool_format` is how the model writes calls."""
    called = tool_choice_of(request)
    return ChoiceOptions(
        stops=tuple(request.stop),
        calls=tool_format if called.visible or tool_format.channels else None,
        callable=called.visible,
        forced=called.mode == "required",
        called=_called(called, named_finish),
        top_logprobs=request.top_logprobs if request.logprobs else None,
        exact_logprobs=request.exact_logprobs,
    )


def _called(called: ToolChoice, named_finish: NamedFinish) -> v1.FinishReason:
    if called.legacy:
        return v1.FINISH_REASON_FUNCTION_CALL
    mimics = called.named and named_finish == "stop"
    return v1.FINISH_REASON_STOP if mimics else v1.FINISH_REASON_TOOL_CALLS
