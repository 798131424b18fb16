"""Validates text completions. Settings that chat requests also have follow the rules of chat requests."""

from __future__ import annotations

import math
from collections.abc import Collection

from google.protobuf.message import Message

from jaxchat import v1
from jaxchat.chat.request.validate import check_call, check_ranges, check_settings
from jaxchat.errors import invalid, missing, unsupported

MAX_CHOICES = 128  # of all prompts together
DEFAULT_MAX_TOKENS = 16
RANGES: dict[str, tuple[float, float]] = {"max_tokens": (0, math.inf), "logprobs": (0, 20), "n": (1, 128)}
ECHO_NEEDS_RAW = "with logprobs it needs a server that reports raw log-probabilities (--logprobs raw)."
REJECTED = {"suffix": "the models here continue a text only at its end."}
"""The reasons why fields are rejected, by field. An empty field is not rejected."""
_OWN = {"prompt", "suffix", "max_tokens", "logprobs", "echo", "best_of", "add_special_tokens"}
_DESCRIPTION = "response_format.json_schema.description"


def validate_text(
    request: v1.TextCompletionRequest, *, vocab_size: int, model_ids: Collection[str], streamed: bool = True
) -> v1.ChatCompletionRequest:
    """Checks a request against all rules.

    Args:
        request: the request to check.
        vocab_size: number of token ids.
        model_ids: ids of the models that exist.
        streamed: whether the answer is streamed. If it is not, `stream_options` is refused.

    Returns:
        The settings of the request as a chat request without messages.

    Raises:
        ChatError: 400 for the first invalid field; the message says why. 404 for an unknown model.
    """
    check_call(request, model_ids, streamed)
    for name, reason in REJECTED.items():
        if getattr(request, name):
            raise unsupported(name, reason)
    check_ranges(request, RANGES)
    _prompts(request, vocab_size)
    _counts(request)
    if request.response_format.json_schema.HasField("description"):
        raise invalid(_DESCRIPTION, "not allowed, as nothing is added to the prompt of a text completion.")
    settings = as_chat(request)
    check_settings(settings, vocab_size)
    return settings


def as_chat(request: v1.TextCompletionRequest) -> v1.ChatCompletionRequest:
    """Returns the settings of a text completion as a chat request without messages.

    Sets `exact_logprobs` if the request has `logprobs`. Does not copy a `max_tokens` of 0, which chat requests may not
    have.
    """
    chat = v1.ChatCompletionRequest()
    for field, value in request.ListFields():
        if field.name in _OWN:
            continue
        target = getattr(chat, field.name)
        if isinstance(target, Message):
            target.SetInParent()
        if hasattr(target, "MergeFrom"):  # messages, lists and maps
            target.MergeFrom(value)
        else:
            setattr(chat, field.name, value)
    if request.max_tokens:
        chat.max_tokens = request.max_tokens
    if request.HasField("logprobs"):
        chat.logprobs = chat.exact_logprobs = True
        chat.top_logprobs = request.logprobs
    return chat


def _prompts(request: v1.TextCompletionRequest, vocab_size: int) -> None:
    if not request.prompt:
        raise missing("prompt")
    for prompt in request.prompt:
        kind = prompt.WhichOneof("kind")
        if kind is None or (kind == "token_ids" and not prompt.token_ids.ids):
            raise invalid("prompt", "a prompt must have at least one token.")
        for token in prompt.token_ids.ids:
            if not 0 <= token < vocab_size:
                raise invalid("prompt", f"token ids are from 0 to {vocab_size - 1}, got {token}.")


def _counts(request: v1.TextCompletionRequest) -> None:
    choices = request.n if request.HasField("n") else 1
    if choices * len(request.prompt) > MAX_CHOICES:
        prompts = f"{len(request.prompt)} prompts with n = {choices}"
        raise invalid("prompt", f"at most {MAX_CHOICES} completions are allowed, prompts times n, got {prompts}.")
    if request.HasField("best_of") and request.best_of != choices:
        message = f"must equal n, {choices}: this server returns all completions that it makes, got {request.best_of}."
        raise unsupported("best_of", message)
    limit = request.max_tokens if request.HasField("max_tokens") else DEFAULT_MAX_TOKENS
    if request.min_tokens > limit:
        raise invalid("min_tokens", f"must be at most max_tokens, {limit}, got {request.min_tokens}.")
