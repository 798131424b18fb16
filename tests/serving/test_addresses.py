"""Addresses that cannot be listened on: the message says why, which program has the port and which flag changes it."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from serving.addresses import check_free, listen, port_holder
from serving.cli.main import main
from serving.config import ServeConfig
from serving.servers import check_addresses
from tests.serving.process import start

HOST = "127.0.0.1"
on_linux = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="/proc tells which process has a port")


@pytest.fixture
def taken() -> Iterator[int]:
    """Yields a port on which this process listens."""
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("use", [check_free, listen])
def test_a_taken_port(taken: int, use) -> None:
    message = rf"^cannot listen on {HOST}:{taken}: .+ has port {taken}; choose another one by --rest-port, or stop"
    with pytest.raises(OSError, match=message):
        use(HOST, taken, "--rest-port")


def test_a_port_that_is_free_can_be_listened_on() -> None:
    check_free(HOST, 0, "--rest-port")
    with listen(HOST, 0, "--rest-port") as listener:
        port = listener.getsockname()[1]
        with socket.create_connection((HOST, port)):
            pass
    check_free(HOST, port, "--rest-port")


@on_linux
def test_the_process_that_has_the_port_is_named(taken: int) -> None:
    assert re.fullmatch(rf"\S+ \(process {os.getpid()}\)", port_holder(taken))


def test_a_port_that_nobody_has_is_that_of_another_program(taken: int, monkeypatch) -> None:
    monkeypatch.setattr("serving.addresses._PROC", Path("/nonexistent"))  # as on other systems
    assert port_holder(taken) == "another program"


@on_linux
def test_another_jaxchat_is_recognised(capsys) -> None:
    other = start("rest", "--backend", "127.0.0.1:1", program=("-m", "jaxchat"), until="REST")
    try:
        port = int(re.search(r":(\d+)/", other.rest)[1])
        assert main(["rest", "--rest-port", str(port)]) == 1
        assert f"another jaxchat (process {other.process.pid}) has port {port}; choose" in capsys.readouterr().err
    finally:
        other.process.kill()
        other.process.wait()


@pytest.mark.parametrize("flag", ["--grpc-port", "--rest-port", "--metrics-port"])
def test_ports_are_checked_before_a_model_is_loaded(taken: int, flag: str, monkeypatch, capsys) -> None:
    loaded: list[object] = []
    monkeypatch.setitem(sys.modules, "jaxchat.api", SimpleNamespace(load_session=lambda *_, **__: loaded.append(1)))
    ports = {"--grpc-port": "0", "--rest-port": "0", flag: str(taken)}
    assert main(["serve", *(word for pair in ports.items() for word in pair)]) == 1
    assert f"choose another one by {flag}" in capsys.readouterr().err and not loaded


def test_two_servers_on_one_port() -> None:
    with pytest.raises(ValueError, match=r"^--grpc-port and --rest-port must differ, got 8123 for both$"):
        check_addresses(ServeConfig(grpc_port=8123, rest_port=8123))
    check_addresses(ServeConfig(grpc_port=0, rest_port=0))


def test_an_address_of_another_machine() -> None:
    with pytest.raises(
        OSError, match=r"^cannot listen on 192\.0\.2\.1:0: this machine has no such address; .* --host$"
    ):
        check_free("192.0.2.1", 0, "--rest-port")
