"""How all processes of a multihost server end when one is stopped, killed or frozen. Real processes, no devices."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.ports import free_port
from tests.serving.multihost.server import MultihostServer, launch, member, start_multihost
from tests.serving.process import PATIENCE
from tests.serving.test_lifecycle import LOCAL, NOT_SERVING, SERVING

PROGRAM = ("-m", "tests.serving.multihost.server_without_devices")
KILLED = -signal.SIGKILL


@pytest.fixture
def multihost(tmp_path: Path) -> Iterator[MultihostServer]:
    servers = start_multihost(Path("x"), tmp_path, "--heartbeat", "2", processes=3, programs=PROGRAM)
    yield servers
    for process in (servers.server.process, *servers.followers):
        process.kill()
        process.wait()


def test_sigterm_to_any_process_ends_all_well(multihost: MultihostServer) -> None:
    multihost.followers[1].send_signal(signal.SIGTERM)
    assert multihost.wait() == [0, 0, 0]
    assert "process 2 was asked to stop" in multihost.log(0)


def test_sigterm_to_all_at_once_ends_all_well(multihost: MultihostServer) -> None:
    for process in (multihost.followers[1], multihost.server.process, multihost.followers[0]):
        process.send_signal(signal.SIGTERM)
    assert multihost.wait() == [0, 0, 0]


def kill(multihost: MultihostServer) -> list[int]:
    multihost.followers[0].kill()
    return multihost.wait()


def freeze(multihost: MultihostServer) -> list[int]:
    """Stops a follower: it keeps its connections but does not answer pings."""
    multihost.followers[0].send_signal(signal.SIGSTOP)
    statuses = [process.wait(PATIENCE) for process in (multihost.server.process, multihost.followers[1])]
    multihost.followers[0].kill()
    return [statuses[0], multihost.followers[0].wait(), statuses[1]]


@pytest.mark.parametrize("lose", [kill, freeze])
def test_a_lost_follower_ends_all(multihost: MultihostServer, lose: Callable[[MultihostServer], list[int]]) -> None:
    with grpc.insecure_channel(multihost.server.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(health).status == SERVING
        assert LOCAL.get(multihost.server.rest.removesuffix("/v1") + "/health").status_code == 200
        assert lose(multihost) == [1, KILLED, 1]
        assert next(health).status == NOT_SERVING
    assert "process 1 is gone" in multihost.log(0)
    assert "is gone" in multihost.log(2)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_followers_end_without_their_leader(multihost: MultihostServer, number: signal.Signals) -> None:
    multihost.server.process.send_signal(number)
    assert [follower.wait(PATIENCE) for follower in multihost.followers] == [1, 1]
    assert all("the leader at" in multihost.log(index) and "is gone" in multihost.log(index) for index in (1, 2))


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
