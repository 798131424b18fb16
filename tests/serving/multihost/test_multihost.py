"""Multihost servers of real processes: they answer like one process, and all end when one is lost or stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import openai
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families as parse

from jaxchat.client import Client
from jaxchat.errors import ChatError
from tests import tiny
from tests.exhaustive import mostly_exhaustive
from tests.ports import free_port
from tests.serving.multihost.server import MultihostServer, start_multihost, start_single
from tests.serving.process import PATIENCE, Process
from tests.serving.test_lifecycle import LOCAL, NOT_SERVING, SERVING, openai_client

pytestmark = pytest.mark.first

Answer = list[tuple[tuple[int, ...], float, tuple[float, ...]]]
"""Bytes, log-probability and those of the most likely tokens, token by token."""
GREEDY = ("-m", "tests.serving.greedy_server")
FEW_PROGRAMS = ("--decode-buckets", "4", "--prefill-buckets", "32")

LONG: dict[str, Any] = dict(  # no end, and too varied for drafts, which would shorten it
    model="tiny",
    messages=[{"role": "user", "content": "Hello"}],
    max_tokens=100,
    logit_bias={str(token): 100 for token in range(40, 60)},
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that four devices can share."""
    return tiny.write(tmp_path_factory.mktemp("models") / "tiny", num_key_value_heads=4, num_hidden_layers=1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Where all pods of this file keep what they compile."""
    return "--cache-dir", str(tmp_path_factory.mktemp("cache"))


def answer(server: Process, seed: int, tokens: int = 60) -> Answer:
    message = {"role": "user", "content": "Hello! " * (1 + 4 * (seed % 2))}
    completion = openai_client(server).chat.completions.create(
        model="tiny", messages=[message], seed=seed, max_tokens=tokens, logprobs=True, top_logprobs=3
    )
    entries = completion.choices[0].logprobs.content
    return [(tuple(e.bytes), e.logprob, tuple(top.logprob for top in e.top_logprobs)) for e in entries]


def answers(server: Process) -> list[Answer]:
    """Returns the answers to four concurrent requests."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda seed: answer(server, seed), range(4)))


def tokens(answers: list[Answer]) -> list[list[tuple[int, ...]]]:
    return [[entry[0] for entry in answer] for answer in answers]


def preemptions(server: Process) -> float:
    page = LOCAL.get(server.rest.removesuffix("/v1") + "/metrics").text
    samples = [sample for family in parse(page) for sample in family.samples]
    return next(sample.value for sample in samples if sample.name == "jaxchat:num_preemptions_total")


def fingerprint(server: Process) -> str:
    return server.said.split("fingerprint", 1)[1].split()[0]


def both(
    multihost: Callable[[], MultihostServer], single: Callable[[], MultihostServer]
) -> tuple[MultihostServer, MultihostServer]:
    """Starts both concurrently."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(multihost), pool.submit(single)
        return first.result(), second.result()


def test_two_processes_answer_bit_for_bit_and_survive_each_others_death(
    small: Path, tmp_path: Path, cache: tuple[str, str]
) -> None:
    flags, port = ("--pages", "14", *FEW_PROGRAMS, *cache), free_port()
    multihost, single = both(
        lambda: start_multihost(small, tmp_path, *flags, processes=2, port=port),
        lambda: start_single(small, tmp_path, *flags, devices=2),
    )
    expected = answers(single.server)
    assert answers(multihost.server) == expected  # bytes and every bit of the log-probabilities
    assert preemptions(multihost.server) > 0  # each process swapped its part out and in
    assert fingerprint(multihost.server) == fingerprint(single.server)
    assert single.stop() == [0]

    kill_a_follower(multihost)

    restarted = start_multihost(small, tmp_path, *flags, processes=2, port=port)
    assert answers(restarted.server) == expected
    client = openai_client(restarted.server)
    request: dict[str, Any] = dict(model="tiny", messages=[{"role": "user", "content": "Hi"}], seed=5, max_tokens=90)
    complete = client.chat.completions.create(**request).choices[0].message.content
    stream = iter(client.chat.completions.create(**request, stream=True))
    first = next(stream).choices[0].delta.content or ""
    restarted.followers[0].send_signal(signal.SIGTERM)
    assert first + "".join(chunk.choices[0].delta.content or "" for chunk in stream) == complete
    assert restarted.wait() == [0, 0]
    assert "was asked to stop" in restarted.log(0)


def kill_a_follower(multihost: MultihostServer) -> None:
    """Checks that waiting clients get an error, health changes, and every process ends with a failure."""
    with grpc.insecure_channel(multihost.server.grpc) as channel, Client(multihost.server.grpc) as client:
        health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(health).status == SERVING
        over_rest = openai_client(multihost.server).chat.completions.create(**LONG, stream=True)
        over_grpc = client.chat.completions.create(**LONG, stream=True)
        next(iter(over_rest)), next(over_grpc)
        multihost.followers[0].kill()
        with pytest.raises(ChatError) as caught:
            list(over_grpc)
        assert (caught.value.http_status, caught.value.code) == (503, "engine_overloaded")  # gRPC's UNAVAILABLE
        with pytest.raises(openai.APIError) as torn:
            list(over_rest)
        assert torn.value.code == "engine_overloaded"
        assert next(health).status == NOT_SERVING
    assert multihost.wait() == [1, -signal.SIGKILL]
    assert "process 1 is gone" in multihost.log(0) or "the engine failed" in multihost.log(0)


def kill_the_leader(multihost: MultihostServer) -> None:
    """Checks that followers end after their leader."""
    multihost.server.process.kill()
    assert multihost.wait()[0] == -signal.SIGKILL
    assert all(follower.returncode not in (0, None) for follower in multihost.followers)


def freeze_a_follower(multihost: MultihostServer) -> None:
    """Checks the end when a follower keeps its connections but answers no pings, and the leader's step never ends."""
    stream = iter(openai_client(multihost.server).chat.completions.create(**LONG, stream=True))
    next(stream)
    multihost.followers[0].send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(openai.APIError) as torn:
            list(stream)
        assert torn.value.code == "engine_overloaded"
        assert multihost.server.process.wait(PATIENCE) == 1
        assert "process 1 is gone" in multihost.log(0)
    finally:
        multihost.followers[0].kill()
        multihost.followers[0].wait()


@pytest.mark.parametrize(
    ("processes", "devices", "end"),
    mostly_exhaustive([(4, 1, kill_the_leader), (2, 2, freeze_a_follower)], [(2, 2, freeze_a_follower)]),
)
def test_four_devices_answer_alike_and_no_process_survives(
    small: Path,
    tmp_path: Path,
    cache: tuple[str, str],
    processes: int,
    devices: int,
    end: Callable[[MultihostServer], None],
) -> None:
    flags = (*FEW_PROGRAMS, "--determinism", "fast", "--heartbeat", "2", *cache)
    multihost, single = both(
        lambda: start_multihost(small, tmp_path, *flags, processes=processes, devices=devices, programs=GREEDY),
        lambda: start_single(small, tmp_path, *flags, devices=4, programs=GREEDY),
    )
    expected, actual = answers(single.server), answers(multihost.server)
    assert tokens(actual) == tokens(expected)  # sums over four devices have another order, so bits may differ
    assert single.stop() == [0]
    end(multihost)
