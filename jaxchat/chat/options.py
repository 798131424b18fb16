"""A validated request's own settings, with the contract's defaults filled in."""

from __future__ import annotations

import secrets

from jaxchat import v1
from jaxchat.chat.choice import ChoiceOptions
from jaxchat.chat.prompt import shows_tools
from jaxchat.types import SamplingParams


def choices(request: v1.ChatCompletionRequest) -> int:
    """n, 1 when absent."""
    return request.n if request.HasField("n") else 1


def sampling(request: v1.ChatCompletionRequest) -> SamplingParams:
    """Sampling parameters; without a seed, 64 random bits from the operating system."""
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


def choice_options(request: v1.ChatCompletionRequest) -> ChoiceOptions:
    """What decides how sampled tokens are shown."""
    tools = frozenset(tool.function.name for tool in request.tools) if shows_tools(request) else frozenset()
    return ChoiceOptions(
        stops=tuple(request.stop),
        tools=tools,
        top_logprobs=request.top_logprobs if request.logprobs else None,
        exact_logprobs=request.exact_logprobs,
    )
