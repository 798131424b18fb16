"""How the processes of a pod end, whoever is stopped, killed or frozen: real processes, without devices."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.serving.multihost.pod import Pod, free_port, launch, member, start_pod
from tests.serving.process import PATIENCE
from tests.serving.test_lifecycle import LOCAL, NOT_SERVING, SERVING

PROGRAM = ("-m", "tests.serving.multihost.pod_without_devices")
KILLED = -signal.SIGKILL


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    made = start_pod(Path("x"), tmp_path, "--heartbeat", "2", processes=3, programs=PROGRAM)
    yield made
    for process in (made.server.process, *made.followers):
        process.kill()
        process.wait()


def test_sigterm_to_any_process_ends_all_well(pod: Pod) -> None:
    pod.followers[1].send_signal(signal.SIGTERM)
    assert pod.wait() == [0, 0, 0]
    assert "process 2 was asked to stop" in pod.said(0)


def test_sigterm_to_all_at_once_ends_all_well(pod: Pod) -> None:
    for process in (pod.followers[1], pod.server.process, pod.followers[0]):
        process.send_signal(signal.SIGTERM)
    assert pod.wait() == [0, 0, 0]


def kill(pod: Pod) -> list[int]:
    pod.followers[0].kill()
    return pod.wait()


def freeze(pod: Pod) -> list[int]:
    """The process keeps its connections, and answers no ping."""
    pod.followers[0].send_signal(signal.SIGSTOP)
    statuses = [process.wait(PATIENCE) for process in (pod.server.process, pod.followers[1])]
    pod.followers[0].kill()
    return [statuses[0], pod.followers[0].wait(), statuses[1]]


@pytest.mark.parametrize("lose", [kill, freeze])
def test_a_lost_follower_ends_all(pod: Pod, lose: Callable[[Pod], list[int]]) -> None:
    with grpc.insecure_channel(pod.server.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(health).status == SERVING
        assert LOCAL.get(pod.server.rest.removesuffix("/v1") + "/health").status_code == 200
        assert lose(pod) == [1, KILLED, 1]
        assert next(health).status == NOT_SERVING
    assert "process 1 is gone" in pod.said(0)
    assert "is gone" in pod.said(2)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_followers_end_without_their_leader(pod: Pod, number: signal.Signals) -> None:
    pod.server.process.send_signal(number)
    assert [follower.wait(PATIENCE) for follower in pod.followers] == [1, 1]
    assert all("the leader at" in pod.said(index) and "is gone" in pod.said(index) for index in (1, 2))


def test_processes_that_differ_are_refused_by_name(tmp_path: Path) -> None:
    port = free_port()
    logs = [tmp_path / name for name in ("leader", "slots", "processes")]
    wrong = [("--slots", "2"), ("--processes", "3")]
    leader = launch(member(Path("x"), 2, 0, port), logs[0], program=PROGRAM)
    followers = [
        launch(member(Path("x"), 2, 1, port, *flags), log, program=PROGRAM)
        for flags, log in zip(wrong, logs[1:], strict=True)
    ]
    assert [follower.wait(PATIENCE) for follower in followers] == [1, 1]
    assert "process 1 differs: slots is 2, the leader's is 4" in logs[1].read_text()
    assert "process 1: --processes is 3, but the leader's is 2" in logs[2].read_text()
    leader.send_signal(signal.SIGTERM)
    assert leader.wait(PATIENCE) == 130


def test_other_weights_end_all_before_anything_runs(tmp_path: Path) -> None:
    port, logs = free_port(), [tmp_path / "leader", tmp_path / "follower"]
    processes = [
        launch(member(Path(model), 2, index, port), logs[index], program=PROGRAM) for index, model in enumerate("xy")
    ]
    assert [process.wait(PATIENCE) for process in processes] == [1, 1]
    assert all("process 1 differs: weights is y, the leader's is x" in log.read_text() for log in logs)
