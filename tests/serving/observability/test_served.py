"""A real server's metrics and KV events after real requests."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgpack
import openai
import pytest
import zmq
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.serving.observability.test_tracing import collecting
from tests.serving.process import Process, serve

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
BLOCK = 32  # --prefill-chunk of these servers
LONG = "All work and no play makes Jack a dull boy. " * 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("events")


@pytest.fixture(scope="module")
def collector() -> Iterator[tuple[str, list[Any]]]:
    with collecting() as address_and_requests:
        yield address_and_requests


@pytest.fixture(scope="module")
def server(tiny_model: Path, folder: Path, collector: tuple[str, list[Any]]) -> Iterator[Process]:
    addresses = ("--kv-events", f"ipc://{folder}/events", "--kv-events-replay", f"ipc://{folder}/replay")
    traces = ("--otlp-endpoint", f"http://{collector[0]}")
    running = serve(tiny_model, *addresses, *traces, "--metrics-prefix", "vllm", "--startup-prompt", "none")
    yield running
    assert running.stop(signal.SIGTERM) == 0


@pytest.fixture(scope="module")
def answers(server: Process) -> list[Any]:
    """Two answers to prompts with the same beginning, one after the other."""
    with openai.OpenAI(base_url=server.rest, api_key="none", max_retries=0) as client:
        return [
            client.chat.completions.create(
                model="tiny",
                messages=[{"role": "user", "content": LONG + end}],
                max_tokens=8,
                extra_body={"return_token_ids": True, "min_tokens": 8},
                extra_headers={"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "router=1"},
            )
            for end in ("Again.", "And again.")
        ]


def test_spans_are_children_of_the_caller(answers: list[Any], collector: tuple[str, list[Any]]) -> None:
    end = time.monotonic() + 30  # spans are sent in batches, every few seconds
    spans: list[Any] = []
    while len(spans) < len(answers) and time.monotonic() < end:
        time.sleep(0.1)
        scopes = [scope for request in collector[1] for each in request.resource_spans for scope in each.scope_spans]
        spans = [span for scope in scopes for span in scope.spans]
    assert len(spans) == len(answers) and len({span.span_id for span in spans}) == len(spans)
    for span in spans:
        assert (span.trace_id.hex(), span.parent_span_id.hex(), span.trace_state) == (TRACE, SPAN, "router=1")


def replayed(folder: Path) -> list[list[Any]]:
    """Returns all events of the server, as a router gets them that comes late."""
    events: list[list[Any]] = []
    with zmq.Context() as context, context.socket(zmq.DEALER) as replay:
        replay.connect(f"ipc://{folder}/replay")
        replay.send_multipart([b"", bytes(8)])
        while replay.poll(10_000):
            _, topic, _, payload = replay.recv_multipart()
            if not payload:
                return events
            assert topic.startswith(b"kv@") and topic.endswith(b"@tiny")
            events += msgpack.unpackb(payload)[1]
    raise AssertionError("the replay does not end")


def cached(folder: Path) -> list[tuple[int, ...]]:
    """Returns the token ids of every prefix that the server has, by its events alone; first the empty one."""
    prefixes: dict[Any, tuple[int, ...]] = {None: ()}
    for name, hashes, parent, ids, size, lora_id, medium, lora_name in replayed(folder):
        assert (name, size, lora_id, medium, lora_name) == ("BlockStored", BLOCK, None, "GPU", None)
        assert len(ids) == len(hashes) * BLOCK
        for index, number in enumerate(hashes):
            prefixes[number] = prefixes[parent] + tuple(ids[index * BLOCK : (index + 1) * BLOCK])
            parent = number
    return list(prefixes.values())


def test_events_hold_the_whole_blocks_of_each_prompt_once(answers: list[Any], folder: Path) -> None:
    prompts = [answer.prompt_token_ids for answer in answers]
    prefixes = cached(folder)
    expected = {tuple(ids[:end]) for ids in prompts for end in range(0, len(ids) + 1, BLOCK)}
    assert set(prefixes) == expected and len(prefixes) == len(expected)


def test_metrics_agree_with_the_usage_of_the_answers(answers: list[Any], server: Process) -> None:
    page = httpx.get(f"{server.rest.removesuffix('/v1')}/metrics", trust_env=False).text
    values = {(s.name, s.labels.get("le")): s.value for family in parse(page) for s in family.samples}
    usages = [answer.usage for answer in answers]
    cached = usages[1].prompt_tokens_details.cached_tokens
    assert cached >= BLOCK and values["vllm:prefix_cache_hits_total", None] == cached
    prompts = sum(usage.prompt_tokens for usage in usages)
    assert values["vllm:prefix_cache_queries_total", None] == values["vllm:request_prompt_tokens_sum", None] == prompts
    assert values["vllm:request_generation_tokens_sum", None] == sum(usage.completion_tokens for usage in usages)
    assert values["vllm:iteration_tokens_total_sum", None] >= prompts - cached + 2 * 7
    for phase in ("queue", "prefill", "decode", "inference"):
        assert values[f"vllm:request_{phase}_time_seconds_count", None] == 2
    total = values["vllm:e2e_request_latency_seconds_sum", None]
    prefill, decode, inference = (
        values[f"vllm:request_{phase}_time_seconds_sum", None] for phase in ("prefill", "decode", "inference")
    )
    assert prefill + decode == pytest.approx(inference) and 0 < inference < total


def test_the_sizes_in_the_metrics_are_those_of_the_cache(answers: list[Any], server: Process) -> None:
    page = httpx.get(f"{server.rest.removesuffix('/v1')}/metrics", trust_env=False).text
    (labels,) = (s.labels for family in parse(page) for s in family.samples if s.name == "vllm:cache_config_info")
    pages, size = (int(word) for word in server.said.split("KV pages")[1].split()[0:3:2])
    assert int(labels["block_size"]) == BLOCK
    assert int(labels["num_gpu_blocks"]) == pages * size // BLOCK


def test_a_router_that_asks_for_token_ids_knows_what_the_server_will_save(
    answers: list[Any], server: Process, folder: Path
) -> None:
    prefixes = cached(folder)
    body = {"model": "tiny", "messages": [{"role": "user", "content": f"{LONG}Once more."}], "max_tokens": 1}
    ids = httpx.post(f"{server.rest}/chat/completions/render", json=body, trust_env=False).json()["token_ids"]
    expected = max(len(prefix) for prefix in prefixes if prefix == tuple(ids[: len(prefix)]))
    usage = httpx.post(f"{server.rest}/chat/completions", json=body, trust_env=False).json()["usage"]
    assert expected == usage["prompt_tokens_details"]["cached_tokens"] >= BLOCK
