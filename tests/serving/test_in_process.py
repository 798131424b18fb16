"""Calls of an ASGI application without a socket."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from serving.rest.in_process import post


async def test_a_request_arrives_whole_and_its_response_is_yielded():
    async def app(scope, receive, send):
        request = Request(scope, receive)
        answer = {"path": request.url.path, "body": await request.json(), "mine": request.headers["x-mine"]}
        await JSONResponse(answer, 201)(scope, receive, send)

    headers = {"X-Mine": "yes", "Content-Length": "3"}
    start, body = [message async for message in post(app, "/there", b'{"a": 1}', headers)]
    assert start["status"] == 201
    assert body["body"] == b'{"path":"/there","body":{"a":1},"mine":"yes"}'


async def test_closing_early_cancels_the_application():
    ended = asyncio.Event()

    async def app(scope, receive, send):
        try:
            while True:
                await send({"type": "http.response.body", "body": b"more", "more_body": True})
        finally:
            ended.set()

    async with contextlib.aclosing(post(app, "/", b"{}", {})) as messages:
        assert (await anext(messages))["body"] == b"more"
    assert ended.is_set()


async def test_an_exception_of_the_application_is_raised():
    async def app(scope, receive, send):
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        await anext(post(app, "/", b"{}", {}))
