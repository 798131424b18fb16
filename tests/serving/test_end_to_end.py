"""The real server process with the real `openai` package, the gRPC client and the in-process API side by side."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from jaxchat.client import AsyncClient, Client
from jaxchat.errors import ChatError
from tests.serving.process import Process, serve

END = "259"  # <|im_end|>, likelier, so that answers come to their end: the helper of openai refuses those that do not
REQUEST: dict[str, Any] = dict(
    model="tiny", messages=[{"role": "user", "content": "Hello"}], seed=11, max_tokens=60, temperature=0.9,
    logit_bias={END: 3},
)  # fmt: skip


@pytest.fixture(scope="module")
def server(tiny_model: Path) -> Iterator[Process]:
    running = serve(tiny_model)
    assert "> Hello! Who are you?" in running.said
    assert f"{running.rest.removesuffix('v1')}\n" in running.said, "the address of the playground"
    yield running
    assert running.stop(signal.SIGTERM) == 0


@pytest.fixture
def rest(server: Process) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.rest, api_key="none", max_retries=0) as client:
        yield client


def deltas(chunks: Any) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def test_every_front_door_gives_the_same_answer(server: Process, rest: openai.OpenAI, tiny_client: Client) -> None:
    local = tiny_client.chat.completions.create(**REQUEST)
    expected = local.choices[0].message.content
    plain = rest.chat.completions.create(**REQUEST)
    answers = {
        "openai": plain.choices[0].message.content,
        "openai stream": deltas(rest.chat.completions.create(**REQUEST, stream=True)),
        "in-process stream": deltas(tiny_client.chat.completions.create(**REQUEST, stream=True)),
    }
    with rest.chat.completions.stream(**REQUEST) as stream:
        answers["openai helper"] = stream.get_final_completion().choices[0].message.content
    with Client(server.grpc) as client:
        answers["grpc"] = client.chat.completions.create(**REQUEST).choices[0].message.content
        answers["grpc stream"] = deltas(client.chat.completions.create(**REQUEST, stream=True))
    answers |= asyncio.run(_asynchronous(server))
    assert answers == dict.fromkeys(answers, expected)
    assert plain.system_fingerprint == local.system_fingerprint


async def _asynchronous(server: Process) -> dict[str, str | None]:
    answers: dict[str, str | None] = {}
    async with openai.AsyncOpenAI(base_url=server.rest, api_key="none") as rest:
        answers["async openai"] = (await rest.chat.completions.create(**REQUEST)).choices[0].message.content
        chunks = [chunk async for chunk in await rest.chat.completions.create(**REQUEST, stream=True)]
        answers["async openai stream"] = deltas(chunks)
    async with AsyncClient(server.grpc) as client:
        answers["async grpc"] = (await client.chat.completions.create(**REQUEST)).choices[0].message.content
        chunks = [chunk async for chunk in await client.chat.completions.create(**REQUEST, stream=True)]
        answers["async grpc stream"] = deltas(chunks)
    return answers


def test_logprobs_usage_and_choices_agree_over_rest_and_grpc(server: Process, rest: openai.OpenAI) -> None:
    request = {**REQUEST, "n": 3, "logprobs": True, "top_logprobs": 4}
    over_rest = rest.chat.completions.create(**request)
    with Client(server.grpc) as client:
        over_grpc = client.chat.completions.create(**request)
    assert over_rest.usage and over_rest.usage.total_tokens == over_grpc.usage.total_tokens
    for choice, other in zip(over_rest.choices, over_grpc.choices, strict=True):
        assert choice.message.content == other.message.content and choice.logprobs and choice.logprobs.content
        assert [bytes(entry.bytes or []) for entry in choice.logprobs.content] == [
            e.bytes for e in other.logprobs.content
        ]
        assert choice.logprobs.content[0].logprob == pytest.approx(other.logprobs.content[0].logprob)


def test_mixed_load_over_both_protocols_changes_no_answer(server: Process, rest: openai.OpenAI) -> None:
    with Client(server.grpc) as client:

        def ask(index: int, over: Any) -> str:
            request = {**REQUEST, "seed": index, "max_tokens": 1 + 3 * index}
            return deltas(over.chat.completions.create(**request, stream=True))

        with ThreadPoolExecutor(32) as pool:
            first = pool.map(ask, range(16), [rest] * 16)
            second = pool.map(ask, range(16), [client] * 16)
            assert list(first) == list(second)


def test_a_reader_that_leaves_frees_its_slots(server: Process, rest: openai.OpenAI) -> None:
    long = {**REQUEST, "max_tokens": 900, "logit_bias": {"3": 100}, "n": 4}
    with rest.chat.completions.create(**long, stream=True) as stream:
        next(iter(stream))
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.rest}/chat/completions", json=long, timeout=0.05)
    began = time.monotonic()
    rest.chat.completions.create(**{**REQUEST, "max_tokens": 1})
    assert time.monotonic() - began < 30


def test_errors_name_the_field_on_both_sides(server: Process, rest: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        rest.chat.completions.create(**{**REQUEST, "temperature": 3})
    assert refused.value.param == "temperature" and "3" in refused.value.message
    with Client(server.grpc) as client, pytest.raises(ChatError) as error:
        client.chat.completions.create(**{**REQUEST, "temperature": 3})
    assert error.value.param == "temperature"
    with pytest.raises(openai.NotFoundError):
        rest.chat.completions.create(**{**REQUEST, "model": "nobody"})


def test_models_and_health(server: Process, rest: openai.OpenAI) -> None:
    assert [model.id for model in rest.models.list()] == ["tiny"]
    assert rest.models.retrieve("tiny").owned_by == "jaxchat"
    assert httpx.get(server.rest.removesuffix("/v1") + "/health").status_code == 200
