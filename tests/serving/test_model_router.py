"""Several models behind the same servers: a request reaches the session of the model that it names, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import pytest

from jaxchat import v1
from jaxchat.chat.context import RequestContext
from jaxchat.client import AsyncClient
from jaxchat.errors import ChatError
from jaxchat.openai_json import request_from_kwargs
from serving.config import ServeConfig
from serving.model_router import ModelRouter
from serving.servers import Servers
from tests.serving.fake_session import FakeSession

CALL = RequestContext(request_id="r")
HELLO = [{"role": "user", "content": "hello"}]
UNKNOWN = "The model 'c' does not exist. This server has: a, also-a, b."


@pytest.fixture
def sessions() -> list[FakeSession]:
    return [FakeSession("a", ("also-a",)), FakeSession("b")]


@asynccontextmanager
async def clients(
    sessions: list[FakeSession],
) -> AsyncIterator[tuple[openai.AsyncOpenAI, AsyncClient, httpx.AsyncClient]]:
    """Yields clients of REST and gRPC, and one for plain HTTP, of servers for `sessions`."""
    router = ModelRouter(sessions)
    servers = Servers(router, ServeConfig(rest_port=0, grpc_port=0))
    await router.start()
    await servers.start()
    web = httpx.AsyncClient(trust_env=False, base_url=servers.rest_url)
    rest = openai.AsyncOpenAI(base_url=f"{servers.rest_url}/v1", api_key="-", max_retries=0, http_client=web)
    try:
        async with AsyncClient(servers.grpc_address) as grpc:
            yield rest, grpc, httpx.AsyncClient(trust_env=False, base_url=servers.rest_url)
    finally:
        await servers.stop()
        await router.close()


async def streamed(chunks: Any) -> set[str]:
    return {chunk.model async for chunk in await chunks}


def test_each_request_reaches_its_model(sessions: list[FakeSession]) -> None:
    async def ask() -> None:
        async with clients(sessions) as (rest, grpc, _):
            for client in (rest, grpc):
                create: Any = client.chat.completions.create
                for name, model in (("a", "a"), ("also-a", "a"), ("b", "b")):
                    assert (await create(model=name, messages=HELLO)).model == model
                    assert await streamed(create(model=name, messages=HELLO, stream=True)) == {model}
                    text: Any = client.completions.create
                    assert (await text(model=name, prompt="x")).model == model
                    assert await streamed(text(model=name, prompt="x", stream=True)) == {model}
            answer = await rest.responses.create(model="b", input="hello")
            assert (answer.model, answer.output_text.strip()) == ("b", "hello")

    asyncio.run(ask())
    assert [len(session.requests) for session in sessions] == [8, 5]


def test_all_models_are_listed_and_each_is_found(sessions: list[FakeSession]) -> None:
    async def ask() -> None:
        async with clients(sessions) as (rest, grpc, _):
            assert [model.id async for model in await rest.models.list()] == ["a", "also-a", "b"]
            assert [model.id for model in await grpc.models.list()] == ["a", "also-a", "b"]
            assert (await rest.models.retrieve("b")).id == "b"
            with pytest.raises(openai.NotFoundError, match=UNKNOWN):
                await rest.models.retrieve("c")

    asyncio.run(ask())


def test_an_unknown_model_is_refused_with_the_names_of_all(sessions: list[FakeSession]) -> None:
    async def ask() -> None:
        async with clients(sessions) as (rest, grpc, _):
            for stream in (False, True):
                for create in (rest.chat.completions.create, rest.responses.create):
                    fields: Any = {"input": "x"} if create == rest.responses.create else {"messages": HELLO}
                    with pytest.raises(openai.NotFoundError, match=UNKNOWN):
                        await create(model="c", stream=stream, **fields)
                with pytest.raises(openai.NotFoundError, match=UNKNOWN):
                    await rest.completions.create(model="c", prompt="x", stream=stream)
                with pytest.raises(ChatError, match=UNKNOWN) as caught:
                    chunks: Any = await grpc.chat.completions.create(model="c", messages=HELLO, stream=stream)
                    [chunk async for chunk in chunks]
                assert (caught.value.http_status, caught.value.param) == (404, "model")

    asyncio.run(ask())
    assert [len(session.requests) for session in sessions] == [0, 0]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/tokenize", {"prompt": "x"}),
        ("POST", "/detokenize", {"tokens": [1]}),
        ("GET", "/v1/capabilities", None),
    ],
)
def test_calls_whose_model_is_optional_need_it(
    sessions: list[FakeSession], method: str, path: str, body: dict[str, Any] | None
) -> None:
    async def ask() -> None:
        async with clients(sessions) as (_, _, web):

            async def call(**model: str) -> httpx.Response:
                return await web.request(method, path, json=body and body | model, params=None if body else model)

            refused = await call()
            assert refused.status_code == 400 and refused.json()["error"]["param"] == "model"
            assert refused.json()["error"]["message"].endswith("This server has several models: a, also-a, b.")
            unknown = await call(model="c")
            assert (unknown.status_code, unknown.json()["error"]["message"]) == (404, UNKNOWN)
            answers = [await call(model=name) for name in ("also-a", "b")]
            assert [answer.status_code for answer in answers] == [200, 200]
            if not body:
                assert [answer.json()["model"] for answer in answers] == ["a", "b"]

    asyncio.run(ask())


def test_prompts_are_those_of_the_model_that_the_completion_names(sessions: list[FakeSession]) -> None:
    async def ask() -> None:
        router = ModelRouter(sessions)
        sessions[1].render = rendering(2)  # type: ignore[method-assign]
        chat = v1.RenderRequest(chat=v1.ChatCompletionRequest(model="b"))
        text = v1.RenderRequest(text=v1.TextCompletionRequest(model="b"))
        other = v1.RenderRequest(text=v1.TextCompletionRequest(model="a"))
        first = [(await router.render(each, CALL)).prompts[0].ids[0] for each in (chat, text, other)]
        assert first == [2, 2, 0]

    def rendering(token: int) -> Callable[..., Awaitable[v1.RenderResponse]]:
        async def render(*_: Any) -> v1.RenderResponse:
            return v1.RenderResponse(prompts=[v1.TokenIds(ids=[token])])

        return render

    asyncio.run(ask())


def test_it_is_ready_while_all_models_are(sessions: list[FakeSession]) -> None:
    async def ask() -> None:
        async with clients(sessions) as (_, _, web):
            assert (await web.get("/health")).status_code == 200
            for session in sessions:
                session.ready = False
                assert (await web.get("/health")).status_code == 503
                session.ready = True

    asyncio.run(ask())


def test_draining_waits_for_the_answers_of_all_models(sessions: list[FakeSession]) -> None:
    async def ask() -> None:
        router = ModelRouter(sessions)
        await router.start()
        request = request_from_kwargs(model="b", messages=[{"role": "user", "content": "hang"}]).request
        running = asyncio.create_task(router.complete(request, CALL))
        await sessions[1].until_running(1)
        draining = asyncio.create_task(router.drain(60))
        async with asyncio.timeout(10):
            while not sessions[0].draining:
                await asyncio.sleep(0)
        with pytest.raises(ChatError) as refused:
            await router.complete(v1.ChatCompletionRequest(model="a"), CALL)
        assert refused.value.code == "draining" and not draining.done()
        running.cancel()
        await draining

    asyncio.run(ask())
