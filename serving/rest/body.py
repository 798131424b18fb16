"""Reads JSON request bodies of limited size and nesting."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import Any

from starlette.requests import Request

from jaxchat.errors import ChatError, invalid_json, reject_constant, request_too_large, safe_repr
from jaxchat.openai_json.readers import nested_at_most

_SURPLUS = 64 * 1024 * 1024  # bytes beyond the limit that are read and dropped
_PATIENCE = 1.0  # seconds to wait for the next of these bytes


async def read_json(request: Request, limit: int) -> Mapping[str, Any]:
    """Returns the JSON object in the body.

    Raises:
        ChatError: the content type is not application/json (status 415), the body has more than `limit` bytes (413),
            or it is not a JSON object or is nested more than 64 deep (400).
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        message = f"The content type must be application/json, got {safe_repr(content_type)}."
        raise ChatError(message, http_status=415)
    value = _parse(await _read(request, limit))
    if not isinstance(value, dict):
        raise invalid_json(f"The body must be a JSON object, got {safe_repr(value)}.")
    nested_at_most(value, None)
    return value


async def _read(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "")
    parts = request.stream()
    body = bytearray()
    too_large = declared.isdigit() and int(declared[:20]) > limit
    while not too_large and (part := await anext(parts, None)) is not None:
        body += part
        too_large = len(body) > limit
    if too_large:
        await _discard(parts)
        raise request_too_large(limit)
    return bytes(body)


async def _discard(parts: AsyncGenerator[bytes, None]) -> None:
    """Reads and drops the next part of the body.

    If the connection closed at once, a client that is still sending might miss the error.
    """
    surplus = 0
    with suppress(TimeoutError):
        while surplus < _SURPLUS and (part := await asyncio.wait_for(anext(parts, None), _PATIENCE)) is not None:
            surplus += len(part)


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"), parse_constant=reject_constant)
    except UnicodeDecodeError:
        raise invalid_json("The body is not valid UTF-8.") from None
    except RecursionError:
        raise invalid_json("The body is nested too deep.") from None
    except ValueError as error:
        raise invalid_json(f"The body is not valid JSON: {safe_repr(str(error))}.") from None
