"""Writes questions with their answers to a file, as `jaxchat replay` reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxchat.client import ChatCompletionChunk, Client


@contextmanager
def recorded(client: Client, request: dict[str, Any], path: Path) -> Iterator[Iterator[ChatCompletionChunk]]:
    """Sends a request, and yields an iterator over the chunks of its answer. Appends a record after the last chunk.

    If the caller stops reading before the last chunk, nothing is recorded.

    Args:
        client: answers the request.
        request: the arguments of `create`, without `stream` and `stream_options`, which are set here. The record omits
            arguments that are None.
        path: the file.

    Raises:
        ChatError: the request is refused, or fails while the chunks are read.
        OSError: the file cannot be written. The iterator raises this after the last chunk.
    """
    chunks: list[ChatCompletionChunk] = []
    with client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **request) as stream:

        def noted() -> Iterator[ChatCompletionChunk]:
            for chunk in stream:
                chunks.append(chunk)
                yield chunk
            _append(path, request, chunks)

        yield noted()


def _append(path: Path, request: dict[str, Any], chunks: list[ChatCompletionChunk]) -> None:
    body = {key: value for key, value in request.items() if value is not None}
    record = {"request": body, "seed": chunks[0].seed_used, "response": [chunk.model_dump() for chunk in chunks]}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
