"""Checks chat requests against all rules that can be checked without a tokenizer.

The requests are protobuf messages. If a request came as JSON, `jaxchat.openai_json` has already checked its types.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

from google.protobuf.message import Message

from jaxchat import v1
from jaxchat.chat.request.tool_choice import ToolChoice
from jaxchat.chat.request.validate_fields import check_known
from jaxchat.chat.request.validate_messages import check_messages, check_parts
from jaxchat.chat.request.validate_tools import check_format, check_structured_outputs, check_tools
from jaxchat.errors import MAX_BIAS, bias_out_of_range, invalid, missing, model_not_found, safe_repr

MAX_BIASES = 1024
MAX_STOPS = 4
MAX_STOP_TOKENS = 64
RANGES: dict[str, tuple[float, float]] = {
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "repetition_penalty": (0.01, 100),
    "temperature": (0, 2),
    "top_p": (0, 1),
    "top_k": (-1, math.inf),
    "min_p": (0, 1),
    "top_logprobs": (0, 20),
    "n": (1, 128),
    "max_tokens": (1, math.inf),
    "max_completion_tokens": (1, math.inf),
    "min_tokens": (0, math.inf),
}

_NamesModel = (
    v1.ChatCompletionRequest
    | v1.TextCompletionRequest
    | v1.TokenizeRequest
    | v1.DetokenizeRequest
    | v1.GetCapabilitiesRequest
)
Rule = Callable[[v1.ChatCompletionRequest], None]


def validate(
    request: v1.ChatCompletionRequest, *, vocab_size: int, model_ids: Collection[str], streamed: bool = True
) -> ToolChoice:
    """Checks a request against all rules.

    Args:
        request: the request to check.
        vocab_size: number of token ids. The ids in `logit_bias` and `stop_token_ids` must be below it.
        model_ids: ids of the models that exist.
        streamed: whether the answer is streamed. If it is not, `stream_options` is refused.

    Returns:
        The tool choice of the request, with its parsed functions.

    Raises:
        ChatError: 400 for the first invalid field; the message says why. 404 for an unknown model.
    """
    check_call(request, model_ids, streamed)
    check_messages(request)
    check_settings(request, vocab_size)
    return check_tools(request)


def check_call(
    request: v1.ChatCompletionRequest | v1.TextCompletionRequest, model_ids: Collection[str], streamed: bool
) -> None:
    """Checks the model, `stream_options` and unknown fields. The arguments are the same as those of `validate`.

    Raises:
        ChatError: 400 for the first invalid field. 404 for an unknown model.
    """
    if not streamed and request.HasField("stream_options"):
        raise invalid("stream_options", "only allowed when the answer is streamed.")
    check_known(request)
    check_model(request, model_ids)


def check_settings(request: v1.ChatCompletionRequest, vocab_size: int) -> None:
    """Checks the fields that say how an answer is generated. Does not check the model, the conversation and the tools.

    Raises:
        ChatError: 400 for the first invalid field.
    """
    for rule in RULES:
        rule(request)
    check_format(request)
    check_structured_outputs(request)
    _logit_bias(request, vocab_size)
    _stop_token_ids(request, vocab_size)


def check_model(request: _NamesModel, model_ids: Collection[str]) -> None:
    """Raises `ChatError` 400 if a request does not name a model, and 404 if it names an unknown model."""
    if not request.model:
        raise missing("model")
    if request.model not in model_ids:
        raise model_not_found(request.model, model_ids)


def _ranges(request: v1.ChatCompletionRequest) -> None:
    check_ranges(request, RANGES)


def check_ranges(request: Message, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Raises `ChatError` 400 for the first field of `ranges` whose value is below or above its bounds."""
    for field, (low, high) in ranges.items():
        if not request.HasField(field):
            continue
        value = getattr(request, field)
        if not low <= value <= high:
            bound = f"at least {low}" if high == math.inf else f"from {low} to {high}"
            raise invalid(field, f"must be {bound}, got {safe_repr(value)}.")


def _logprobs(request: v1.ChatCompletionRequest) -> None:
    for field in ("top_logprobs", "exact_logprobs"):
        if request.HasField(field) and not request.logprobs:
            raise invalid(field, "only allowed when logprobs is true.")


def _max_tokens(request: v1.ChatCompletionRequest) -> None:
    if request.HasField("max_tokens") and request.HasField("max_completion_tokens"):
        raise invalid("max_tokens", "max_completion_tokens is given too. Give only one of the two.")


def _min_tokens(request: v1.ChatCompletionRequest) -> None:
    for field in ("max_tokens", "max_completion_tokens"):
        limit = getattr(request, field)
        if request.HasField(field) and request.min_tokens > limit:
            raise invalid("min_tokens", f"must be at most {field}, {limit}, got {request.min_tokens}.")


def _stop(request: v1.ChatCompletionRequest) -> None:
    if len(request.stop) > MAX_STOPS:
        raise invalid("stop", f"at most {MAX_STOPS} stop strings are allowed, got {len(request.stop)}.")
    if "" in request.stop:
        raise invalid("stop", "a stop string must not be empty.")


def _stop_token_ids(request: v1.ChatCompletionRequest, vocab_size: int) -> None:
    if len(request.stop_token_ids) > MAX_STOP_TOKENS:
        message = f"at most {MAX_STOP_TOKENS} token ids are allowed, got {len(request.stop_token_ids)}."
        raise invalid("stop_token_ids", message)
    for token in request.stop_token_ids:
        if not 0 <= token < vocab_size:
            raise invalid("stop_token_ids", f"token ids are from 0 to {vocab_size - 1}, got {token}.")


def _logit_bias(request: v1.ChatCompletionRequest, vocab_size: int) -> None:
    if len(request.logit_bias) > MAX_BIASES:
        raise invalid("logit_bias", f"at most {MAX_BIASES} entries are allowed, got {len(request.logit_bias)}.")
    for token, bias in request.logit_bias.items():
        if not 0 <= token < vocab_size:
            raise invalid("logit_bias", f"token ids are from 0 to {vocab_size - 1}, got {token}.")
        if not abs(bias) <= MAX_BIAS:  # also catches NaN
            raise bias_out_of_range(token, bias)


def _prediction(request: v1.ChatCompletionRequest) -> None:
    if not request.HasField("prediction"):
        return
    prediction = request.prediction
    if not prediction.type:
        raise missing("prediction.type", "A prediction must have the type 'content'.")
    kind = prediction.WhichOneof("content_kind")
    if kind is None:
        raise missing("prediction.content", "A prediction must have it.")
    if kind == "parts":
        check_parts(prediction.parts, "prediction.content", "a prediction", refusals=False)


RULES: tuple[Rule, ...] = (_ranges, _logprobs, _max_tokens, _min_tokens, _stop, _prediction)
