"""One server with two models that really answer: the bits of one do not depend on the other."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from jaxchat import v1
from jaxchat.api import load_session
from jaxchat.chat.context import RequestContext
from jaxchat.client import Client
from jaxchat.config import EngineConfig
from jaxchat.openai_json import request_from_kwargs
from serving.model_router import ModelRouter
from tests import tiny
from tests.serving.process import Process, start

CALL = RequestContext(request_id="r")
ENGINE = EngineConfig(slots=4, prefill_chunk=32)
LOCAL = httpx.Client(trust_env=False, timeout=60)


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose arrays have other shapes than those of `tiny_model`."""
    return tiny.write(tmp_path_factory.mktemp("models") / "other", hidden_size=64, num_hidden_layers=3, vocab_size=288)


def question(model: str, seed: int) -> v1.ChatCompletionRequest:
    """A request whose answer has 40 sampled tokens, with their log-probabilities."""
    return request_from_kwargs(
        model=model,
        messages=[{"role": "user", "content": f"Count to {seed} and on"}],
        seed=seed,
        max_tokens=40,
        ignore_eos=True,
        logprobs=True,
        top_logprobs=3,
    ).request


def bits(answer: v1.ChatCompletion) -> bytes:
    """The choices of an answer, log-probabilities included, byte for byte."""
    return b"".join(choice.SerializeToString(deterministic=True) for choice in answer.choices)


@asynccontextmanager
async def routed(*models: Path) -> AsyncIterator[tuple[ModelRouter, list[Any]]]:
    """Yields a router of models that are loaded one after the other, and its sessions."""
    sessions = [load_session(str(model), ENGINE) for model in models]
    router = ModelRouter(sessions)
    await router.start()
    try:
        yield router, sessions
    finally:
        await router.close()


def test_seeded_answers_are_the_same_alone_and_beside_a_busy_model(tiny_model: Path, other_model: Path) -> None:
    seeds = range(6)

    async def ask(router: ModelRouter, model: str) -> list[bytes]:
        return [
            bits(answer)
            for answer in await asyncio.gather(*(router.complete(question(model, seed), CALL) for seed in seeds))
        ]

    async def alone() -> list[bytes]:
        async with routed(tiny_model) as (router, _):
            return await ask(router, "tiny")

    async def beside() -> list[bytes]:
        async with routed(tiny_model, other_model) as (router, sessions):
            load = asyncio.create_task(keep_busy(router))
            await asyncio.sleep(0)
            answers = await ask(router, "tiny")
            assert not load.done()
            load.cancel()
            assert sessions[1].stats.tokens > 100  # the other model has really run meanwhile
            assert [session.compiles_after_ready for session in sessions] == [0, 0]
            return answers

    async def keep_busy(router: ModelRouter) -> None:
        while True:
            await ask(router, "other")

    expected = asyncio.run(alone())
    assert len(set(expected)) == len(seeds)
    assert asyncio.run(beside()) == expected


def client_of(server: Process) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.rest, api_key="-", max_retries=0, http_client=LOCAL)


def test_served_names_and_models_of_a_process(tiny_model: Path, other_model: Path) -> None:
    flags = ("--model", str(tiny_model), "--served-model-name", "gpt", "gpt-small", "--model", str(other_model))
    flags += ("--served-model-name", "wide", "--slots", "4", "--prefill-chunk", "32", "--startup-prompt", "Hi")
    server = start("serve", "--grpc-port", "0", *flags)
    assert server.said.count("> Hi") == 2  # both were asked
    assert "gpt, gpt-small" in server.said and server.said.count("fingerprint") == 2
    rest, asked = client_of(server), dict(messages=[{"role": "user", "content": "Hello"}], seed=5, max_tokens=8)
    assert [model.id for model in rest.models.list()] == ["gpt", "gpt-small", "wide"]
    answers: dict[str, Any] = {}
    with Client(server.grpc) as grpc:
        for name in ("gpt", "gpt-small", "wide"):
            answers[name] = rest.chat.completions.create(model=name, **asked)  # type: ignore[call-overload]
            assert answers[name].model == ("wide" if name == "wide" else "gpt")
            stream = rest.chat.completions.create(model=name, stream=True, **asked)  # type: ignore[call-overload]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            over_grpc = grpc.chat.completions.create(model=name, **asked)  # type: ignore[call-overload]
            assert text == answers[name].choices[0].message.content == over_grpc.choices[0].message.content
        with pytest.raises(openai.NotFoundError, match="This server has: gpt, gpt-small, wide"):
            rest.chat.completions.create(model="tiny", **asked)  # type: ignore[call-overload]
    assert answers["gpt"].choices[0] == answers["gpt-small"].choices[0]
    assert answers["gpt"].system_fingerprint != answers["wide"].system_fingerprint
    page = LOCAL.get(server.rest.removesuffix("/v1") + "/metrics").text
    samples = [sample for family in parse(page) for sample in family.samples]
    compiles = {s.labels["model_name"]: s.value for s in samples if s.name == "jaxchat:compiles_after_ready_total"}
    assert compiles == {"gpt": 0, "wide": 0}
    outcomes = [s for s in samples if s.name == "jaxchat:request_outcomes_total" and s.labels["outcome"] == "completed"]
    done = {s.labels["model_name"]: s.value for s in outcomes}
    assert done == {"gpt": 7, "wide": 4}  # with the start-up prompt of each
    assert server.stop(signal.SIGTERM) == 0


def test_the_failure_of_one_engine_ends_the_process(tiny_model: Path, other_model: Path, tmp_path: Path) -> None:
    models = ("--model", str(tiny_model), "--model", str(other_model))
    sizes = ("--slots", "4", "--prefill-chunk", "32", "--startup-prompt", "none")
    program, log = ("-m", "tests.serving.failing_engine"), tmp_path / "log"
    server = start("serve", "--grpc-port", "0", *models, *sizes, program=program, log=log)
    client, asked = client_of(server), dict(messages=[{"role": "user", "content": "Hello"}], max_tokens=8)
    server.process.send_signal(signal.SIGUSR1)
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="other", **asked)  # type: ignore[call-overload]
    assert LOCAL.get(server.rest.removesuffix("/v1") + "/health").status_code == 503
    assert server.process.wait(60) == 1
    assert "the engine of other failed" in log.read_text()
