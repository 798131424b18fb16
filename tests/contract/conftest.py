"""Fixtures for the contract tests: servers for the tiny model and for the echo, and their front doors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jaxchat.client import Client
from jaxchat.client.local import LocalTransport
from tests.contract import covering
from tests.contract.doors import NAMES, Door
from tests.contract.echo import EchoRunner, echo_session
from tests.contract.place import Place


@pytest.fixture(scope="module")
def tiny_place(tiny_client: Client) -> Iterator[Place]:
    """Yields servers for a real engine with a tiny random model."""
    with Place(tiny_client) as place:
        yield place


@pytest.fixture(scope="session")
def echo_client() -> Iterator[tuple[Client, EchoRunner]]:
    session, runner = echo_session()
    with Client(LocalTransport(session)) as client:
        yield client, runner


@pytest.fixture(scope="module")
def echo_place(echo_client: tuple[Client, EchoRunner]) -> Iterator[Place]:
    """Yields servers for a real engine whose model repeats the last user message."""
    with Place(echo_client[0]) as place:
        yield place


@pytest.fixture
def runner(echo_client: tuple[Client, EchoRunner]) -> EchoRunner:
    return echo_client[1]


@pytest.fixture(params=NAMES)
def door(request: pytest.FixtureRequest, tiny_place: Place) -> Iterator[Door]:
    """Yields each front door of the tiny model. Checks that the test leaves it idle."""
    yield tiny_place.door(request.param)
    tiny_place.wait_until_idle()


@pytest.fixture(params=NAMES)
def echo(request: pytest.FixtureRequest, echo_place: Place) -> Iterator[Door]:
    """Yields each front door of the echo. Checks that the test leaves it idle."""
    yield echo_place.door(request.param)
    echo_place.wait_until_idle()


@pytest.fixture(autouse=True)
def honest(request: pytest.FixtureRequest) -> Iterator[None]:
    """Asserts that a test has sent or received every field that it claims to cover."""
    covering.SEEN.sent.clear()
    covering.SEEN.received.clear()
    yield
    claimed = getattr(request.function, "covers", ())
    assert not covering.SEEN.unproven(claimed), "claimed, but never on the wire"
