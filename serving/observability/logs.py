"""The process's log as text or JSON lines, with one line for each finished request.

A line has the model, user, outcome and cost of a request. It never has a prompt, an answer or an API key. A user
appears as a keyed hash. The key changes with each start of the process, so only the lines of one process can be linked.
"""

from __future__ import annotations

import hmac
import json
import logging
import secrets
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from jaxchat.chat.context import Record
from serving.config import LogConfig

log = logging.getLogger("jaxchat.requests")
starting = logging.getLogger("jaxchat.start")
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_SHOWN = 200  # characters of a model name; clients may send any


def configure(config: LogConfig) -> None:
    """Configures the root logger to write to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if config.log_format == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=config.log_level.upper(), handlers=[handler], force=True)
    if config.log_level == "info":  # on this level jax names each kind of device that it did not find
        logging.getLogger("jax").setLevel(logging.WARNING)


def notices(config: LogConfig) -> Callable[[str], None]:
    """Returns a function that writes a line for the operator to standard error, at any log level.

    If the log format is JSON, the line is a JSON object.
    """
    if config.log_format == "json":
        starting.setLevel(logging.INFO)
        return starting.info
    return to_stderr


def to_stderr(line: str) -> None:
    """Prints a line to standard error and flushes it."""
    print(line, file=sys.stderr, flush=True)


class JsonFormatter(logging.Formatter):
    """A formatter that writes one JSON object a line, in ASCII. `extra={"fields": {...}}` adds keys."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        fields = getattr(record, "fields", None)
        line |= {"message": "request"} | fields if fields else {"message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class RequestLog:
    """An observer that logs each finished request at INFO."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def tokens(self, record: Record, count: int, gap: float | None) -> None:
        """Does nothing, because the log has one line for a whole request."""

    def finished(self, record: Record) -> None:
        if log.isEnabledFor(logging.INFO):
            fields = self._fields(record)
            words = " ".join(f"{key}={json.dumps(value)}" for key, value in fields.items())
            log.info("request %s", words, extra={"fields": fields})

    def _fields(self, record: Record) -> dict[str, Any]:
        """Returns the fields of a log line. Durations are in seconds. The status is 499 if the client disconnected."""
        return {
            "request_id": record.request_id,
            "model": record.model[:_SHOWN],
            "user": self._hidden(record.user),
            "streamed": record.streamed,
            "choices": record.choices,
            "outcome": record.outcome,
            "status": record.status,
            "error": record.error or None,
            "finish_reasons": list(record.finish_reasons),
            "prompt_tokens": record.prompt_tokens,
            "completion_tokens": record.completion_tokens,
            "first_token_seconds": None if record.first_token is None else round(record.first_token, 6),
            "seconds": round(record.seconds, 6),
        }

    def _hidden(self, user: str) -> str | None:
        if not user:
            return None
        return hmac.digest(self._key, user.encode("utf-8", "surrogatepass"), "sha256").hex()[:12]
