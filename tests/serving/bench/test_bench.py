"""Measurements against a small server: loads, requests, failures and what is counted."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from jaxchat.errors import ChatError
from serving.bench.config import BenchConfig
from serving.bench.figures import LoadFigures
from serving.bench.run import Bench
from serving.cli.main import main
from serving.config import RestClientConfig
from serving.rest_client import open_session
from tests.serving.bench.answering import Answering, answering, event, good_events, stream, well
from tests.serving.conftest import Running


async def measure(server: Answering, client: RestClientConfig | None = None, **settings: Any) -> list[LoadFigures]:
    config = BenchConfig(**{"requests": 6, "warmup": 2, "prompt_tokens": 25, "output_tokens": 3} | settings)
    async with open_session(client or RestClientConfig(), config.timeout) as session:
        return [figures async for figures in Bench(session, server.url, config).run()]


async def test_an_open_loop_never_waits_for_answers() -> None:
    """The server answers only once all requests are there, so a generator that waits would never end."""
    arrived, all_there = 0, asyncio.Event()

    async def respond(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        nonlocal arrived
        if body["max_tokens"] > 1:
            arrived += 1
            if arrived == 8:
                all_there.set()
            await all_there.wait()
        return await well(request, body)

    async with answering(respond) as server:
        (figures,) = await asyncio.wait_for(measure(server, rate=(200.0,)), 60)
    assert server.most_open == 8
    assert (figures.kind, figures.requests, figures.errors) == ("rate", 6, {})


async def test_a_closed_loop_keeps_that_many_open() -> None:
    async with answering() as server:
        three, one = await measure(server, concurrency=(3, 1))
    assert server.most_open == 3
    assert (three.load, one.load, three.requests, one.requests) == (3, 1, 6, 6)
    assert len(server.bodies) == 2 + 2 * 8  # two that show the length of prompts, and the warm-up


async def test_prompts_have_about_the_length_asked_for_and_never_repeat() -> None:
    async with answering() as server:
        (figures,) = await measure(server, prompt_tokens=45)
    assert figures.prompt_tokens == 45 and figures.output_tokens == 3
    sent = [body for body in server.bodies if body["max_tokens"] == 3]
    assert len({body["messages"][0]["content"] for body in sent}) == len({body["seed"] for body in sent}) == 8
    assert all(body["model"] == "listed" and body["ignore_eos"] and body["stream"] for body in sent)
    assert all(body["stream_options"] == {"include_usage": True} for body in sent)
    async with answering() as again:
        await measure(again, prompt_tokens=45)
    assert again.bodies == server.bodies


async def test_completions_a_named_model_a_key_and_foreign_servers(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    async with answering() as server:
        client = RestClientConfig(api_key_file=tmp_path / "key")  # type: ignore[arg-type]
        (figures,) = await measure(server, client, endpoint="completions", model="second", ignore_eos=False)
    assert figures.requests == 6 and figures.first_token.p50 > 0
    assert {body["path"] for body in server.bodies} == {"/v1/completions"}
    assert {body["model"] for body in server.bodies} == {"second"} and set(server.keys) == {"Bearer secret"}
    assert not any("ignore_eos" in body for body in server.bodies)


FAILURES = {
    "torn": lambda events: events[:-1],
    "error": lambda events: [*events[:2], event({"error": {"message": "the device is lost"}})],
    "no usage": lambda events: [*events[:-2], events[-1]],
    "not JSON": lambda events: [b"data: oops\n\n"],
    "another choice": lambda events: [event({"choices": ["oops"]})],
    "another delta": lambda events: [event({"choices": [{"delta": "oops"}]})],
    "another usage": lambda events: [event({"choices": [], "usage": "oops"})],
}
SAYS = {
    "torn": "the stream ended before [DONE]",
    "error": "error event: the device is lost",
    "no usage": "the stream has no usage, so tokens cannot be counted",
    "not JSON": "not an event of the API: oops",
    "another choice": 'not an event of the API: {"choices": ["oops"]}',
    "another delta": 'not an event of the API: {"choices": [{"delta": "oops"}]}',
    "another usage": 'not an event of the API: {"choices": [], "usage": "oops"}',
    "refused": "status 429: The queue is full",
}


@pytest.mark.parametrize("kind", SAYS)
async def test_failures_are_counted_by_kind_and_not_in_the_figures(kind: str) -> None:
    count = 0

    async def respond(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        nonlocal count
        count += 1
        if count <= 2 + 2 or count % 2:
            return await well(request, body)
        if kind == "refused":
            return web.json_response({"error": {"message": "The queue is full"}}, status=429)
        return await stream(request, FAILURES[kind](good_events(body)))

    async with answering(respond) as server:
        (figures,) = await measure(server)
    assert figures.errors == {SAYS[kind]: 3} and figures.requests == 3
    assert figures.output_rate == pytest.approx(9 / figures.seconds)


async def test_a_timeout_counts_as_a_failure(tmp_path: Path) -> None:
    async def respond(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        while request.transport is not None:  # until the client closes the connection
            await asyncio.sleep(0.01)
        return web.Response()

    (tmp_path / "prompts").write_text('{"prompt": "hello"}')
    async with answering(respond) as server:
        settings = {"model": "named", "dataset": str(tmp_path / "prompts"), "timeout": 0.1}
        (figures,) = await measure(server, requests=1, warmup=0, **settings)
    assert figures.errors == {"timeout": 1} and figures.requests == 0


async def test_a_refused_first_request_ends_the_measurement() -> None:
    async def respond(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"error": {"message": "Unknown parameter: 'ignore_eos'."}}, status=400)

    async with answering(respond) as server:
        with pytest.raises(ChatError, match=r"'ignore_eos'\.; servers that do not know .*--no-ignore"):
            await measure(server)


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
async def test_a_dataset(tmp_path: Path, endpoint: str) -> None:
    rows: list[dict[str, Any]] = [{"prompt": "one two"}, {"prompt": "three", "max_tokens": 5}]
    if endpoint == "chat":
        rows.append({"custom_id": "a", "body": {"messages": [{"role": "user", "content": "four"}], "temperature": 0}})
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    async with answering() as server:
        await measure(server, dataset=str(path), endpoint=endpoint, warmup=0)
    assert len(server.bodies) == 6
    texts = [body["prompt"] if endpoint == "completions" else body["messages"][0]["content"] for body in server.bodies]
    assert texts == (["one two", "three", "four"] * 2 if endpoint == "chat" else ["one two", "three"] * 3)
    assert [body["max_tokens"] for body in server.bodies[:2]] == [3, 5]
    assert endpoint == "completions" or server.bodies[2]["temperature"] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no prompts"), ("{", "line 1: not valid JSON"), ('{"text": 1}', "line 1: needs 'messages' or 'prompt'")],
)
async def test_a_dataset_that_is_unusable(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(text)
    async with answering() as server:
        with pytest.raises(ValueError, match=message):
            await measure(server, dataset=str(path))


def test_the_command_against_a_real_server(server: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset, figures, plot = tmp_path / "prompts.jsonl", tmp_path / "figures.json", tmp_path / "plot.svg"
    dataset.write_text('{"prompt": "hello you"}\n')
    flags = ["--dataset", str(dataset), "--requests", "5", "--warmup", "1", "--rate", "50", "100"]
    assert main(["bench", f"{server.rest}/v1/", *flags, "--json", str(figures), "--plot", str(plot)]) == 0
    output = capsys.readouterr().out
    assert "| 50/s " in output and "| 100/s | time to first token" in output
    saved = json.loads(figures.read_text())
    assert saved["model"] == "fake" and [load["requests"] for load in saved["loads"]] == [5, 5]
    assert saved["loads"][0]["per_token"]["p50"] is None  # answers of one token
    assert saved["settings"]["rate"] == [50, 100] and "<svg" in plot.read_text()


def test_a_failure_is_in_the_status(server: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = tmp_path / "prompts.jsonl"
    dataset.write_text('{"prompt": "tear"}\n')
    assert main(["bench", server.rest, "--dataset", str(dataset), "--requests", "2", "--warmup", "0"]) == 1
    assert "1 at a time: 2 failed: error event: torn" in capsys.readouterr().out
