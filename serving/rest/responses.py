"""JSON responses."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from jaxchat.errors import ChatError
from jaxchat.openai_json import error_to_json


def dump(value: Any) -> str:
    """Returns compact JSON on one line. Raises ValueError for NaN and infinities, which only a bug produces."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(dump(value), status, headers, "application/json")


def error_response(error: ChatError, headers: Mapping[str, str] | None = None) -> Response:
    """Returns a response with the error object, and with headers that say whether and when to retry."""
    all_headers = dict(headers or {})
    if error.retry_after is not None:
        all_headers["retry-after"] = str(math.ceil(error.retry_after))
        all_headers["retry-after-ms"] = str(math.ceil(error.retry_after * 1000))
    if error.http_status == 500:
        all_headers["x-should-retry"] = "false"  # the same request would fail the same way
    if error.http_status == 413 or error.code == "draining":
        all_headers["connection"] = "close"  # the rest of the body is not read, or the server is about to end
    return json_response(error_to_json(error), error.http_status, all_headers)
