"""Two server processes, of which one is killed under load: no request is lost, and no bit differs."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from jaxchat.client import AsyncClient, Client
from jaxchat.errors import ChatError
from tests.ports import free_port
from tests.serving.failover_answers import KINDS, Said, read_chunks, read_completion
from tests.serving.process import Process, serve, start

pytestmark = pytest.mark.first
PATIENCE = 120  # seconds for all answers of a test
RECONNECT = 6  # seconds, more than between two attempts to connect


class Replicas:
    """Two servers of the same model, which start on the same ports again."""

    def __init__(self, model: Path) -> None:
        self._model = model
        self.servers = [self._start(str(free_port())), self._start(str(free_port()))]
        self.targets = [server.grpc for server in self.servers]

    def _start(self, port: str) -> Process:
        return serve(self._model, "--grpc-port", port, "--startup-prompt", "none", "--shutdown-grace", "0.1")

    def end(self, index: int, number: int) -> None:
        self.servers[index].stop(number)

    def revive(self) -> None:
        """Starts the servers that have ended, and waits until clients have connected to them again."""
        ended = [index for index, server in enumerate(self.servers) if server.process.poll() is not None]
        for index in ended:
            self.servers[index] = self._start(self.targets[index].rpartition(":")[2])
        if ended:
            time.sleep(RECONNECT)

    def stop(self) -> None:
        for server in self.servers:
            if server.process.poll() is None:
                server.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def replicas(tiny_model: Path) -> Iterator[Replicas]:
    both = Replicas(tiny_model)
    yield both
    both.stop()


@pytest.fixture(scope="module")
def expected(replicas: Replicas) -> list[Said]:
    """The answers of one undisturbed server."""
    with Client(replicas.targets[0]) as client:
        return [read_completion(client.chat.completions.create(**kind)) for kind in KINDS]


@pytest.fixture(scope="module")
def rest(replicas: Replicas) -> Iterator[openai.OpenAI]:
    front = start("rest", "--backend", *replicas.targets)
    with openai.OpenAI(base_url=front.rest, api_key="none", max_retries=0) as client:
        yield client
    assert front.stop(signal.SIGTERM) == 0


class Progress:
    """Counts chunks, so that a server ends while streams are under way."""

    def __init__(self, chunks: int) -> None:
        self._left = chunks
        self.reached = threading.Event()

    def __call__(self) -> None:
        self._left -= 1
        if self._left <= 0:
            self.reached.set()


def blocking(client: Any, kind: dict[str, Any], stream: bool, seen: Callable[[], None]) -> Said:
    if client.__module__.startswith("openai"):
        kind = kind | {"extra_body": {key: kind[key] for key in ("ignore_eos", "return_token_ids") if key in kind}}
        kind = {key: value for key, value in kind.items() if key not in kind["extra_body"]}
    if not stream:
        return read_completion(client.chat.completions.create(**kind))
    return read_chunks(client.chat.completions.create(**kind, stream=True), seen)


async def asynchronous(targets: list[str], seen: Callable[[], None]) -> list[Said]:
    async with AsyncClient(targets) as client:

        async def ask(kind: dict[str, Any], stream: bool) -> Said:
            if not stream:
                return read_completion(await client.chat.completions.create(**kind))
            chunks = []
            async for chunk in await client.chat.completions.create(**kind, stream=True):
                seen()
                chunks.append(chunk)
            return read_chunks(chunks)

        return await asyncio.gather(*(ask(kind, stream) for stream in (False, True) for kind in KINDS))


@pytest.mark.parametrize(("victim", "number"), [(0, signal.SIGKILL), (1, signal.SIGTERM)])
def test_answers_go_on_bit_for_bit(
    replicas: Replicas, rest: openai.OpenAI, expected: list[Said], victim: int, number: int
) -> None:
    replicas.revive()
    progress = Progress(40)
    with Client(",".join(replicas.targets)) as client, ThreadPoolExecutor(32) as pool:
        asked = [
            (over, stream, index) for over in (rest, client) for stream in (True, False) for index in range(len(KINDS))
        ]
        answers = [pool.submit(blocking, over, KINDS[index], stream, progress) for over, stream, index in asked]
        others = pool.submit(lambda: asyncio.run(asynchronous(replicas.targets, progress)))
        assert progress.reached.wait(PATIENCE)
        running = sum(not answer.done() for answer in answers)
        replicas.end(victim, number)
        assert running > 4, "the server ended too late"
        for (over, stream, index), answer in zip(asked, answers, strict=True):
            assert answer.result(PATIENCE) == expected[index], (over, stream, index)
        assert others.result(PATIENCE) == expected * 2


def test_all_dead_is_a_clear_error(replicas: Replicas, rest: openai.OpenAI) -> None:
    replicas.stop()
    began = time.monotonic()
    with pytest.raises(openai.InternalServerError) as caught:
        blocking(rest, KINDS[0], False, lambda: None)
    assert caught.value.status_code == 503 and caught.value.code == "engine_overloaded"
    assert "None of the 2 replicas can be reached" in caught.value.message
    with Client(replicas.targets) as client, pytest.raises(ChatError, match="None of the 2 replicas"):
        client.chat.completions.create(**KINDS[0])
    assert time.monotonic() - began < 30
