"""Real server processes from start to end: draining, a broken engine, a killed backend, what operators see."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import openai
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families as parse

from jaxchat.client import Client
from jaxchat.errors import ChatError
from serving.grpc.server import SERVICE
from tests.ports import free_port
from tests.serving.process import Process, serve, start

LOCAL = httpx.Client(trust_env=False, timeout=60)
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
LASTING = ("--speculate", "off")  # drafts would end a long answer before a test interrupts it


def ask(tokens: int, **fields: Any) -> dict[str, Any]:
    """A request whose answer has exactly that many characters."""
    message = {"role": "user", "content": "Hello"}
    return dict(model="tiny", messages=[message], seed=1, max_tokens=tokens, logit_bias={"3": 100}) | fields


def openai_client(server: Process, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=server.rest, api_key=key, max_retries=0, http_client=LOCAL)


def until(happened: Callable[[], bool]) -> None:
    """Asks the server again and again: there is no event for what it counts."""
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


class Load:
    """Answers of all four kinds under way, each on a thread; `started` once every stream has had a token."""

    def __init__(self, server: Process, each: int, tokens: int) -> None:
        self._tokens = tokens
        self._pool = ThreadPoolExecutor(4 * each)
        self._rest, self._grpc = openai_client(server), Client(server.grpc)
        self.started = threading.Barrier(2 * each + 1)
        self._answers = []
        for _ in range(each):
            for client in (self._rest, self._grpc):
                self._answers.append(self._pool.submit(self._streamed, client))
                self._answers.append(self._pool.submit(self._plain, client))

    def _streamed(self, client: Any) -> int:
        stream = iter(client.chat.completions.create(**ask(self._tokens), stream=True))
        length = 0
        for number, chunk in enumerate(stream):
            if number == 0:
                self.started.wait()
            length += len(chunk.choices[0].delta.content or "")
        return length

    def _plain(self, client: Any) -> int:
        return len(client.chat.completions.create(**ask(self._tokens)).choices[0].message.content)

    def lengths(self) -> Counter[int]:
        return Counter(answer.result() for answer in self._answers)


def test_sigterm_under_load_loses_no_answer(tiny_model: Path) -> None:
    server = serve(tiny_model)
    with grpc.insecure_channel(server.grpc) as channel, Client(server.grpc) as client:
        health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert next(health).status == SERVING
        web = openai_client(server)
        load = Load(server, each=5, tokens=800)
        load.started.wait()
        server.process.send_signal(signal.SIGTERM)
        assert next(health).status == NOT_SERVING
        assert LOCAL.get(server.rest.removesuffix("/v1") + "/health").status_code == 503
        with pytest.raises(openai.InternalServerError) as refused:
            web.chat.completions.create(**ask(1))
        assert (refused.value.status_code, refused.value.code) == (503, "draining")
        assert "retry-after" in refused.value.response.headers
        with pytest.raises(ChatError) as caught:
            client.chat.completions.create(**ask(1))
        assert caught.value.code == "draining"
        assert load.lengths() == {800: 20}
        assert server.process.wait(60) == 0


def test_a_broken_engine_ends_the_process_and_everyone_is_told(tiny_model: Path, tmp_path: Path) -> None:
    server = serve(tiny_model, *LASTING, program=("-m", "tests.serving.failing_engine"), log=tmp_path / "log")
    with grpc.insecure_channel(server.grpc) as channel, Client(server.grpc) as client:
        health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(health).status == SERVING
        over_rest = openai_client(server).chat.completions.create(**ask(900), stream=True)
        over_grpc = client.chat.completions.create(**ask(900), stream=True)
        next(iter(over_rest)), next(over_grpc)
        server.process.send_signal(signal.SIGUSR1)
        with pytest.raises(openai.APIError, match="stopped") as torn:
            list(over_rest)
        assert torn.value.code == "engine_overloaded"
        with pytest.raises(ChatError) as caught:
            list(over_grpc)
        assert (caught.value.http_status, caught.value.code) == (503, "engine_overloaded")
        assert next(health).status == NOT_SERVING
        assert LOCAL.get(server.rest.removesuffix("/v1") + "/health").status_code == 503
        with pytest.raises(ChatError) as caught:
            client.chat.completions.create(**ask(1))
        assert caught.value.http_status == 503
        with pytest.raises(openai.InternalServerError) as refused:
            openai_client(server).chat.completions.create(**ask(1))
        assert refused.value.status_code == 503
        assert server.process.wait(60) == 1
    log = (tmp_path / "log").read_text()
    assert "the device is lost" in log and "the engine failed" in log


def outcomes(url: str) -> dict[tuple[str, str], float]:
    """How many requests ended in which way and with which error, where there are any."""
    samples = [sample for family in parse(LOCAL.get(url).text) for sample in family.samples]
    ends = [sample for sample in samples if sample.name == "jaxchat:request_outcomes_total" and sample.value]
    return {(sample.labels["outcome"], sample.labels["error"]): sample.value for sample in ends}


def test_what_operators_see(tiny_model: Path, tmp_path: Path) -> None:
    keys, log = tmp_path / "keys", tmp_path / "log"
    keys.write_text("key-of-alice\n")
    flags = ("--api-keys", str(keys), "--metrics-port", "0", "--log-format", "json", "--log-level", "info", *LASTING)
    server = serve(tiny_model, *flags, log=log)
    assert "key-of-alice" not in server.said and "Authorization: Bearer KEY" in server.said
    metrics = server.said.split("metrics", 1)[1].split()[0]
    client = openai_client(server, "key-of-alice")
    client.chat.completions.create(**ask(5, n=2), user="alice@example.com")
    with client.chat.completions.create(**ask(900), stream=True) as stream:
        next(iter(stream))
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(**ask(5, temperature=3))
    until(lambda: ("cancelled", "") in outcomes(metrics))
    found = outcomes(metrics)
    assert found["completed", ""] == 2 and found["refused", "invalid_request_error"] == 1  # one of them the greeting
    assert server.stop(signal.SIGTERM) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    requests = {line["outcome"]: line for line in lines if line["message"] == "request"}
    assert (
        requests["completed"]["completion_tokens"] == 10 and requests["completed"]["finish_reasons"] == ["length"] * 2
    )
    assert len(requests["completed"]["user"]) == 12
    assert requests["cancelled"]["status"] == 499 and requests["refused"]["status"] == 400
    text = log.read_text()
    assert not any(secret in text for secret in ("key-of-alice", "alice@example.com", "Hello"))


def test_a_front_outlives_its_backend(tiny_model: Path) -> None:
    port = str(free_port())
    server = serve(tiny_model, "--grpc-port", port, *LASTING)
    front = start("rest", "--backend", server.grpc)
    health = front.rest.removesuffix("/v1") + "/health"
    client = openai_client(front)
    stream = client.chat.completions.create(**ask(900), stream=True)
    next(iter(stream))
    server.process.kill()
    with pytest.raises(openai.APIError) as torn:
        list(stream)
    assert torn.value.code == "engine_overloaded"
    with pytest.raises(openai.InternalServerError) as refused:
        client.chat.completions.create(**ask(1))
    assert refused.value.status_code == 503
    assert LOCAL.get(health).status_code == 503
    server.process.wait(60)
    again = serve(tiny_model, "--grpc-port", port)
    until(lambda: LOCAL.get(health).status_code == 200)
    assert len(client.chat.completions.create(**ask(7)).choices[0].message.content or "") == 7
    load = Load(Process(again.grpc, front.rest, "", front.process), each=3, tokens=400)
    load.started.wait()
    assert front.process.poll() is None
    front.process.send_signal(signal.SIGTERM)
    assert load.lengths() == {400: 12}
    assert front.process.wait(60) == 0
    assert again.stop(signal.SIGTERM) == 0
