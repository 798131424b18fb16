"""Exceptions that users catch, and the constructors of the API's errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class ModelError(Exception):
    """The error for a model that cannot be found, read or served. The message names the model or the file at fault."""


class MultihostError(Exception):
    """The error for a multihost group: a process does not join in time, differs from the others or is lost."""


@dataclass(eq=False)
class ChatError(Exception):
    """The error for a chat request that was rejected or failed, with the fields of the API's error object.

    Attributes:
        message: text for people.
        param: dotted path of the invalid field, as in `messages.2.content`.
        code: stable name of the error for programs, such as `context_length_exceeded`.
        type: group of the error, such as `invalid_request_error`.
        http_status: HTTP status, which also determines the gRPC status.
        retry_after: seconds to wait before a retry; None if a retry would not help.
        request_id: id of the request. Only clients set it.
    """

    message: str
    param: str | None = None
    code: str | None = None
    type: str = "invalid_request_error"
    http_status: int = 400
    retry_after: float | None = None
    request_id: str | None = None

    def __str__(self) -> str:
        return self.message if self.param is None else f"{self.param}: {self.message}"


def safe_repr(value: object, limit: int = 200) -> str:
    """Returns `repr(value)` made safe to send: at most `limit` characters, without lone surrogates."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # huge integers, or unlimited nesting
        text = f"<{type(value).__name__}>"
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= limit else text[: limit - 3] + "..."


def reject_constant(name: str) -> None:
    """Raises ValueError for the constant `name`. As `parse_constant`, makes `json.loads` reject NaN and infinities."""
    raise ValueError(f"{name} is not JSON")


# 400


def invalid(param: str | None, message: str, code: str | None = None) -> ChatError:
    return ChatError(message, param, code)


def unsupported(param: str, message: str) -> ChatError:
    return ChatError(message, param, "unsupported_parameter")


def unknown_parameter(param: str) -> ChatError:
    return ChatError(f"Unknown parameter: {safe_repr(param)}.", param, "unknown_parameter")


def invalid_json(message: str) -> ChatError:
    return ChatError(message, None, "invalid_json")


def context_length_exceeded(
    limit: int, prompt_tokens: int, max_tokens: int | None = None, *, more: bool = False
) -> ChatError:
    """Returns a `ChatError` (status 400) for a prompt, or a prompt plus `max_tokens`, of more than `limit` tokens.

    Args:
        limit: the model's context, in tokens.
        prompt_tokens: length of the prompt.
        max_tokens: requested length of the answer, if any.
        more: whether the prompt is longer than `prompt_tokens`, because counting stopped there.
    """
    if more:
        message = f"This model's context is {limit} tokens, but the messages take more than {prompt_tokens}."
        return ChatError(message, "messages", "context_length_exceeded")
    answer = "" if max_tokens is None else f" and {max_tokens} tokens were asked for"
    total = prompt_tokens + (max_tokens or 0)
    return ChatError(
        f"This model's context is {limit} tokens, but the messages take {prompt_tokens}{answer} ({total} in all). "
        "Shorten the messages or lower max_tokens.",
        "messages",
        "context_length_exceeded",
    )


# Other 4xx


def invalid_api_key() -> ChatError:
    return ChatError("The API key is missing or wrong.", None, "invalid_api_key", http_status=401)


def model_not_found(model: str, known: Iterable[str] = ()) -> ChatError:
    names = ", ".join(sorted(known))
    hint = f" This server has: {names}." if names else ""
    message = f"The model {safe_repr(model)} does not exist.{hint}"
    return ChatError(message, "model", "model_not_found", http_status=404)


def request_too_large(limit: int) -> ChatError:
    message = f"The request body is larger than the limit of {limit} bytes."
    return ChatError(message, None, "request_too_large", http_status=413)


def queue_full(waiting: int, limit: int, retry_after: float = 1.0) -> ChatError:
    """Returns a `ChatError` (status 429). `waiting` and `limit` count sequences without a slot."""
    return ChatError(
        f"The queue is full: {waiting} sequences wait for a slot, and the limit is {limit}. Try again shortly.",
        None,
        "rate_limit_exceeded",
        "requests",
        429,
        retry_after,
    )


# 5xx


def internal(message: str = "The server had an internal error.") -> ChatError:
    return ChatError(message, None, "internal_error", "server_error", 500)


def numerical_error() -> ChatError:
    message = "The model produced numbers that are not finite for this request."
    return ChatError(message, None, "numerical_error", "server_error", 500)


def overloaded(message: str = "The engine is overloaded.", retry_after: float = 1.0) -> ChatError:
    return ChatError(message, None, "engine_overloaded", "server_error", 503, retry_after)


def engine_stopped() -> ChatError:
    return overloaded("The engine has stopped.")


def reader_too_slow(limit: int) -> ChatError:
    """Returns a `ChatError` (status 503) for an answer of which more than `limit` bytes are unread."""
    message = f"The answer was not read: more than {limit} bytes of it were waiting."
    return ChatError(message, None, "reader_too_slow", "server_error", 503)


def not_ready(retry_after: float = 5.0) -> ChatError:
    return ChatError("The model is still loading.", None, "not_ready", "server_error", 503, retry_after)


def draining(retry_after: float = 5.0) -> ChatError:
    return ChatError("The server is shutting down.", None, "draining", "server_error", 503, retry_after)


def timeout(message: str = "The deadline passed before the answer was complete.") -> ChatError:
    return ChatError(message, None, "timeout", "server_error", 504)
