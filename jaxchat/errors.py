"""Exceptions that users catch, and the constructors of the API's errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

MESSAGE_LIMIT = 300  # characters of an error's message
PARAM_LIMIT = 200
MAX_BIAS = 100  # bound of a logit_bias in both directions
_VALUE_LIMIT = 100  # characters of a value in a message
_PATH_LIMIT = 120


class ModelError(Exception):
    """The error for a model that cannot be found, read or served. The message names the model, file or setting."""


class MultihostError(Exception):
    """The error for a multihost group: a process does not join in time, differs from the others or is lost."""


@dataclass(eq=False)
class ChatError(Exception):
    """The error for a chat request that was rejected or failed, with the fields of the API's error object.

    Attributes:
        message: text for people, which names the invalid field. Texts of more than 300 characters are shortened.
        param: dotted path of the invalid field, as in `messages.2.content`. Paths of more than 200 characters are
            shortened.
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

    def __post_init__(self) -> None:
        self.message = safe_text(self.message, MESSAGE_LIMIT)
        if self.param is not None:
            self.param = safe_text(self.param, PARAM_LIMIT)

    def __str__(self) -> str:
        return self.message


def safe_text(text: str, limit: int) -> str:
    """Returns `text` made safe to send: at most `limit` characters, cut in the middle, without lone surrogates."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= limit:
        return text
    end = (limit - 3) // 2
    return f"{text[: limit - 3 - end]}...{text[len(text) - end :]}"


def safe_repr(value: object, limit: int = _VALUE_LIMIT) -> str:
    """Returns `repr(value)` made safe to send, as by `safe_text`."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # huge integers, or unlimited nesting
        text = f"<{type(value).__name__}>"
    return safe_text(text, limit)


def reject_constant(name: str) -> None:
    """Raises ValueError for the constant `name`.

    `json.loads` rejects NaN and infinities if it gets this function as `parse_constant`.
    """
    raise ValueError(f"{name} is not JSON")


# 400: messages that name the field first


def invalid(param: str | None, reason: str, code: str | None = None) -> ChatError:
    """Returns a 400 for a value that is not allowed.

    Args:
        param: the field; None for an error of the whole request.
        reason: says what is wrong, with the bound and the value. A reason that begins with the quoted name of the
            field is the complete message.
        code: name of the error for programs.
    """
    complete = param is None or reason.startswith(repr(param))
    return ChatError(reason if complete else f"Invalid value for {_quoted(param)}: {reason}", param, code)


def invalid_schema(param: str, reason: str) -> ChatError:
    """Returns a 400 for a JSON Schema that cannot be enforced. `reason` is a phrase, often with a JSON pointer."""
    return ChatError(f"Invalid schema for {_quoted(param)}: {reason}", param)


def wrong_type(param: str, expected: str, value: object) -> ChatError:
    """Returns a 400 for a value of another JSON type than `expected`, which is a phrase such as "a number"."""
    return ChatError(f"Invalid type for {_quoted(param)}: expected {expected}, got {safe_repr(value)}.", param)


def repeated_key(param: str) -> ChatError:
    return invalid(param, "The JSON object has this key twice.")


def bias_out_of_range(token: int, bias: float) -> ChatError:
    return invalid("logit_bias", f"must be from -{MAX_BIAS} to {MAX_BIAS}, got {safe_repr(bias)} for token {token}.")


def missing(param: str, reason: str = "") -> ChatError:
    """Returns a 400 for a required field that is absent. `reason` is a sentence that says why it is required."""
    return ChatError(f"Missing required parameter: {_quoted(param)}.{' ' if reason else ''}{reason}", param)


def unsupported(param: str, reason: str) -> ChatError:
    """Returns a 400 for a value of the API that this server or model does not support."""
    return ChatError(f"Unsupported value for {_quoted(param)}: {reason}", param, "unsupported_parameter")


def unknown_parameter(param: str) -> ChatError:
    return ChatError(f"Unknown parameter: {_quoted(param)}.", param, "unknown_parameter")


def renamed(error: ChatError, param: str) -> ChatError:
    """Returns a copy of `error` that names the field `param` instead of `error.param`, in the message too."""
    return replace(error, param=param, message=error.message.replace(_quoted(error.param), _quoted(param), 1))


def _quoted(param: str | None) -> str:
    return safe_repr(param, _PATH_LIMIT)


def invalid_json(message: str) -> ChatError:
    return ChatError(message, None, "invalid_json")


def context_length_exceeded(
    limit: int, prompt_tokens: int, max_tokens: int | None = None, *, more: bool = False, param: str = "messages"
) -> ChatError:
    """Returns a `ChatError` (status 400) for a prompt, or a prompt plus `max_tokens`, of more than `limit` tokens.

    Args:
        limit: the model's context, in tokens.
        prompt_tokens: length of the prompt.
        max_tokens: requested length of the answer, if any.
        more: whether the prompt is longer than `prompt_tokens`, because counting stopped there.
        param: the field that holds the prompt.
    """
    limited = f"This model's maximum context length is {limit} tokens. However, "  # clients look for OpenAI's words
    advice = f"Please reduce the length of the {param}"
    if more or max_tokens is None:
        message = f"your {param} resulted in {'more than ' * more}{prompt_tokens} tokens. {advice}."
    else:
        message = (
            f"you requested {prompt_tokens + max_tokens} tokens ({prompt_tokens} in the {param}, {max_tokens} in the "
            f"completion). {advice} or completion."
        )
    return ChatError(limited + message, param, "context_length_exceeded")


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


def cut_off(message: str) -> ChatError:
    """Returns a `ChatError` (status 503) for an answer that was cut off and that no other replica can continue."""
    return ChatError(message, None, "cut_off", "server_error", 503)


def reader_too_slow(limit: int) -> ChatError:
    """Returns a `ChatError` (status 503) for an answer with more than `limit` unread bytes."""
    message = f"The answer was not read: more than {limit} bytes of it were waiting."
    return ChatError(message, None, "reader_too_slow", "server_error", 503)


def not_ready(retry_after: float = 5.0) -> ChatError:
    return ChatError("The model is still loading.", None, "not_ready", "server_error", 503, retry_after)


def draining(retry_after: float = 5.0) -> ChatError:
    return ChatError("The server is shutting down.", None, "draining", "server_error", 503, retry_after)


def timeout(message: str = "The deadline passed before the answer was complete.") -> ChatError:
    return ChatError(message, None, "timeout", "server_error", 504)
