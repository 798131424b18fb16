"""Pods of real processes: they answer like one process, and end as they should when a part is lost or stopped."""

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
from tests.serving.multihost.pod import Pod, free_port, start_alone, start_pod
from tests.serving.process import PATIENCE, Process
from tests.serving.test_lifecycle import LOCAL, NOT_SERVING, SERVING, openai_client

pytestmark = pytest.mark.first

Answer = list[tuple[tuple[int, ...], float, tuple[float, ...]]]
"""Bytes, log-probability and those of the most likely tokens, token by token."""
FAMILIAR = ("--determinism", "fast", "--decode-buckets", "4", "--prefill-buckets", "32")  # two programs: soon compiled

LONG: dict[str, Any] = dict(
    model="tiny", messages=[{"role": "user", "content": "Hello"}], max_tokens=100, logit_bias={"3": 100}
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
    """Four at once."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda seed: answer(server, seed), range(4)))


def tokens(found: list[Answer]) -> list[list[tuple[int, ...]]]:
    return [[entry[0] for entry in answer] for answer in found]


def preemptions(server: Process) -> float:
    page = LOCAL.get(server.rest.removesuffix("/v1") + "/metrics").text
    samples = [sample for family in parse(page) for sample in family.samples]
    return next(sample.value for sample in samples if sample.name == "jaxchat:num_preemptions_total")


def fingerprint(server: Process) -> str:
    return server.said.split("fingerprint", 1)[1].split()[0]


def both(pod: Callable[[], Pod], alone: Callable[[], Pod]) -> tuple[Pod, Pod]:
    """Started side by side."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(pod), pool.submit(alone)
        return first.result(), second.result()


def test_two_processes_answer_bit_for_bit_and_survive_each_others_death(
    small: Path, tmp_path: Path, cache: tuple[str, str]
) -> None:
    flags, port = ("--pages", "14", *cache), free_port()
    pod, alone = both(
        lambda: start_pod(small, tmp_path, *flags, processes=2, port=port),
        lambda: start_alone(small, tmp_path, *flags, devices=2),
    )
    expected = answers(alone.server)
    assert answers(pod.server) == expected  # bytes and every bit of the log-probabilities
    assert preemptions(pod.server) > 0  # each process swapped out its part, and back
    assert fingerprint(pod.server) == fingerprint(alone.server)
    assert alone.stop() == [0]

    kill_a_follower(pod)

    again = start_pod(small, tmp_path, *flags, processes=2, port=port)
    assert answers(again.server) == expected
    client = openai_client(again.server)
    asked: dict[str, Any] = dict(model="tiny", messages=[{"role": "user", "content": "Hi"}], seed=5, max_tokens=90)
    whole = client.chat.completions.create(**asked).choices[0].message.content
    stream = iter(client.chat.completions.create(**asked, stream=True))
    begun = next(stream).choices[0].delta.content or ""
    again.followers[0].send_signal(signal.SIGTERM)
    assert begun + "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole
    assert again.wait() == [0, 0]
    assert "was asked to stop" in again.said(0)


def kill_a_follower(pod: Pod) -> None:
    """All who wait are told, health turns, and every process ends with a status that is not 0."""
    with grpc.insecure_channel(pod.server.grpc) as channel, Client(pod.server.grpc) as client:
        health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(health).status == SERVING
        over_rest = openai_client(pod.server).chat.completions.create(**LONG, stream=True)
        over_grpc = client.chat.completions.create(**LONG, stream=True)
        next(iter(over_rest)), next(over_grpc)
        pod.followers[0].kill()
        with pytest.raises(ChatError) as caught:
            list(over_grpc)
        assert (caught.value.http_status, caught.value.code) == (503, "engine_overloaded")  # gRPC's UNAVAILABLE
        with pytest.raises(openai.APIError) as torn:
            list(over_rest)
        assert torn.value.code == "engine_overloaded"
        assert next(health).status == NOT_SERVING
    assert pod.wait() == [1, -signal.SIGKILL]
    assert "process 1 is gone" in pod.said(0) or "the engine failed" in pod.said(0)


def kill_the_leader(pod: Pod) -> None:
    """Followers do not outlive it."""
    pod.server.process.kill()
    assert pod.wait()[0] == -signal.SIGKILL
    assert all(follower.returncode not in (0, None) for follower in pod.followers)


def freeze_a_follower(pod: Pod) -> None:
    """It lives and holds its connections, but answers no ping, and the leader's step waits for it for ever."""
    stream = iter(openai_client(pod.server).chat.completions.create(**LONG, stream=True))
    next(stream)
    pod.followers[0].send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(openai.APIError) as torn:
            list(stream)
        assert torn.value.code == "engine_overloaded"
        assert pod.server.process.wait(PATIENCE) == 1
        assert "process 1 is gone" in pod.said(0)
    finally:
        pod.followers[0].kill()
        pod.followers[0].wait()


@pytest.mark.parametrize(("processes", "devices", "end"), [(4, 1, kill_the_leader), (2, 2, freeze_a_follower)])
def test_four_devices_answer_alike_and_no_process_is_left_alone(
    small: Path, tmp_path: Path, cache: tuple[str, str], processes: int, devices: int, end: Callable[[Pod], None]
) -> None:
    flags = (*FAMILIAR, "--heartbeat", "2", *cache)
    pod, alone = both(
        lambda: start_pod(small, tmp_path, *flags, processes=processes, devices=devices),
        lambda: start_alone(small, tmp_path, *flags, devices=4),
    )
    expected, found = answers(alone.server), answers(pod.server)
    assert tokens(found) == tokens(expected)  # sums of four are added in another order, so bits may differ
    assert alone.stop() == [0]
    end(pod)
