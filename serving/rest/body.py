"""Reads JSON request bodies of limited size and nesting."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import Any

from starlette.requests import Request

from jaxchat.errors import ChatError, invalid_json, request_too_large, safe_repr
from jaxchat.json_text import json_object
from jaxchat.openai_json.readers import nested_at_most

_SURPLUS = 64 * 1024 * 1024  # bytes beyond the limit that are read and dropped
_PATIENCE = 1.0  # seconds to wait for the next of these bytes
_GZIP = 31  # the largest window, with the header and the checksum of gzip


async def read_json(request: Request, limit: int) -> Mapping[str, Any]:
    """Returns the JSON object in the body, which may be compressed by gzip.

    Raises:
        ChatError: the content type is not application/json, or the content encoding is neither gzip nor identity
            (status 415); the body has more than `limit` bytes, compressed or not (413); or the body is not valid gzip,
            is not a JSON object, has a key twice in an object, or is nested more than 64 deep (400).
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        message = f"The content type must be application/json, got {safe_repr(content_type)}."
        raise ChatError(message, http_status=415)
    value = json_object(await _read(request, limit), "The body")
    nested_at_most(value, None)
    return value


async def _read(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "")
    decoder = _decoder(request.headers.get("content-encoding", ""))
    parts = request.stream()
    body, received = bytearray(), 0
    too_large = declared.isdigit() and int(declared[:20]) > limit
    while not too_large and (part := await anext(parts, None)) is not None:
        received += len(part)
        if received <= limit:
            body += decoder.feed(part, limit + 1 - len(body)) if decoder else part
        too_large = received > limit or len(body) > limit
    if too_large:
        await _discard(parts)
        raise request_too_large(limit)
    if decoder:
        decoder.check_complete()
    return bytes(body)


async def _discard(parts: AsyncGenerator[bytes, None]) -> None:
    """Reads and drops more of the body, up to a limit.

    If the connection closed at once, a client that is still sending might miss the error.
    """
    surplus = 0
    with suppress(TimeoutError):
        while surplus < _SURPLUS and (part := await asyncio.wait_for(anext(parts, None), _PATIENCE)) is not None:
            surplus += len(part)


def _decoder(encoding: str) -> GzipDecoder | None:
    """Returns the decoder for a content encoding, or None for a plain body. Raises `ChatError` 415 for others."""
    name = encoding.strip().lower()
    if name in ("gzip", "x-gzip"):
        return GzipDecoder()
    if name not in ("", "identity"):
        message = f"The content encoding must be gzip or identity, got {safe_repr(encoding)}."
        raise ChatError(message, http_status=415)
    return None


class GzipDecoder:
    """A decoder of gzip that never returns more than asked for, so a small body cannot fill the memory."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._begun = False

    def feed(self, data: bytes, limit: int) -> bytes:
        """Decodes the next part of the data. Returns at most `limit` bytes, and drops further bytes.

        Args:
            data: the next bytes of the body.
            limit: maximum number of decoded bytes, above 0.

        Raises:
            ChatError: 400 for data that is not gzip.
        """
        decoded = bytearray()
        try:
            while data and len(decoded) < limit:
                if self._member.eof:
                    self._member = zlib.decompressobj(_GZIP)  # a body may consist of several members
                self._begun = True
                decoded += self._member.decompress(data, limit - len(decoded))
                data = self._member.unused_data if self._member.eof else b""
        except zlib.error:
            raise _not_gzip() from None
        return bytes(decoded)

    def check_complete(self) -> None:
        """Raises `ChatError` 400 if the data ended too early."""
        if self._begun and not self._member.eof:
            raise _not_gzip()


def _not_gzip() -> ChatError:
    return invalid_json("The body is not valid gzip, although its content encoding says so.")
