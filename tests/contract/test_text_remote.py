"""REST in front of a gRPC server gives the answers of the combined server, bit for bit."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from serving.config import BackendConfig
from serving.remote_backend import RemoteBackend
from serving.rest import create_app
from tests.contract.place import PATIENCE, Place

MESSAGES = [{"role": "user", "content": "Hello"}]
FIXED: dict[str, Any] = {"seed": 3, "max_tokens": 6, "logprobs": 2, "echo": True, "return_token_ids": True}
CALLS: list[tuple[str, dict[str, Any] | None]] = [
    ("/v1/completions", {"prompt": ["Hello there", "x"], "n": 2, **FIXED}),
    ("/v1/completions", {"prompt": "Hello there", "stream": True, "stream_options": {"include_usage": True}, **FIXED}),
    ("/v1/completions", {"prompt": "Hello", "suffix": "x"}),
    ("/v1/completions", {"prompt": "Hello", "stream": True, "logprobs": 21}),
    ("/v1/completions/render", {"prompt": ["Hello", [1, 2]]}),
    ("/v1/chat/completions/render", {"messages": MESSAGES}),
    ("/tokenize", {"messages": MESSAGES, "return_token_strs": True}),
    ("/tokenize", {"prompt": "Hello<|im_end|>"}),
    ("/detokenize", {"tokens": [1, 2, 3]}),
    ("/detokenize", {"tokens": [-1]}),
    ("/v1/capabilities", None),
]


def content_of(reply: httpx.Response) -> Any:
    """Returns an answer without its id and time. The parts of a stream are joined, as a reader's pace cuts them."""
    if not reply.text.startswith("data: "):
        return {**value, "id": 0, "created": 0} if isinstance(value := reply.json(), dict) else value
    *events, done, _ = reply.text.split("\n\n")
    parts = [json.loads(event.removeprefix("data: ")) for event in events]
    texts = [choice["text"] for part in parts for choice in part["choices"]]
    logprobs = [pair for part in parts for choice in part["choices"] for pair in choice["logprobs"]["token_logprobs"]]
    return done, "".join(texts), logprobs, parts[-1]["usage"], parts[0]["system_fingerprint"]


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_rest_in_front_of_grpc_gives_the_same(tiny_place: Place, path: str, body: dict[str, Any] | None) -> None:
    async def ask() -> httpx.Response:
        backend = RemoteBackend(BackendConfig(backend=tiny_place.grpc))
        await backend.start()
        try:
            await asyncio.wait_for(backend.until_ready(), PATIENCE)
            transport = httpx.ASGITransport(create_app(backend))
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
                return await (http.get(path) if body is None else http.post(path, json=full))
        finally:
            await backend.close()

    full = None if body is None else {"model": tiny_place.model, **body}
    direct = tiny_place.http.get(path) if body is None else tiny_place.http.post(path, json=full)
    remote = asyncio.run(ask())
    assert remote.status_code == direct.status_code
    assert remote.headers.get("x-jaxchat-seed") == direct.headers.get("x-jaxchat-seed")
    assert content_of(remote) == content_of(direct)
