"""Streams that wait for their first token: comments keep the line open, and errors come as events then."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from jaxchat import v1
from jaxchat.errors import invalid, timeout
from serving.rest import create_app
from tests.serving.fake_session import FakeSession

BODY = {"model": "fake", "stream": True, "messages": [{"role": "user", "content": "hi"}]}


class SlowSession(FakeSession):
    """Thinks before and after the role chunk, then says one word or fails."""

    def __init__(self, before=0.0, after=0.0, error=None):
        super().__init__()
        self.before, self.after, self.error = before, after, error

    async def stream(self, request, call):
        await asyncio.sleep(self.before)
        if self.error and not self.after:
            raise self.error
        chunk = v1.ChatCompletionChunk(id="x")
        chunk.choices.add(index=0).delta.role = v1.ROLE_ASSISTANT
        yield chunk
        await asyncio.sleep(self.after)
        if self.error:
            raise self.error
        chunk = v1.ChatCompletionChunk(id="x")
        chunk.choices.add(index=0).delta.content = "word"
        yield chunk


async def reply(session):
    transport = httpx.ASGITransport(create_app(session, keep_alive=0.02))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.post("/v1/chat/completions", json=BODY)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_comments_until_the_first_token(when):
    text = (await reply(SlowSession(**{when: 0.3}))).text
    assert 2 <= text.count(": waiting\n\n") <= 15
    assert text.index('"role"') < text.index('"word"') < text.index("[DONE]")


async def test_an_error_after_a_comment_is_an_event():
    answer = await reply(SlowSession(before=0.3, error=timeout()))
    assert answer.status_code == 200
    assert '"code":"timeout"' in answer.text and "[DONE]" not in answer.text


async def test_an_error_after_the_role_is_an_event():
    answer = await reply(SlowSession(after=0.01, error=timeout()))
    assert answer.text.endswith('"code":"timeout"}}\n\n')


async def test_an_early_error_is_plain():
    answer = await reply(SlowSession(error=invalid("n", "bad")))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "n")
