"""API keys: where they are asked for, every remote door asks for them, and only health is open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from jaxchat import v1
from jaxchat.client import Client
from tests.contract.doors import REMOTE
from tests.contract.echo import EchoRunner
from tests.contract.place import Place

KEY = "secret-1"
HELLO = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def keyed_place(echo_client: tuple[Client, EchoRunner], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A place whose clients have no key."""
    file: Path = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"other\n{KEY}  # of the tests\n")
    with Place(echo_client[0], api_keys=str(file)) as place:
        yield place


@pytest.mark.parametrize("name", REMOTE)
def test_a_wrong_key_is_a_401(keyed_place: Place, name: str) -> None:
    for fields in ({}, {"temperature": 9}, {"model": "nobody"}):
        refusal = keyed_place.door(name).refused(**fields)
        found = (refusal.status, refusal.type, refusal.code, refusal.param)
        assert found == (401, "invalid_request_error", "invalid_api_key", None)
        assert KEY not in refusal.message


def test_a_right_key_opens_every_door(keyed_place: Place) -> None:
    with openai.OpenAI(base_url=f"{keyed_place.rest}/v1", api_key=KEY, max_retries=0) as rest:
        assert rest.chat.completions.create(**HELLO).choices[0].message.content == "hi"
        assert [model.id for model in rest.models.list()] == ["echo"]
    with Client(keyed_place.grpc, api_key=KEY) as client:
        assert client.chat.completions.create(**HELLO).choices[0].message.content == "hi"
    request = v1.ChatCompletionRequest(model="echo", messages=[v1.ChatMessage(role=v1.ROLE_USER, text="hi")])
    answer = keyed_place.stub.Complete(request, metadata=(("authorization", f"Bearer {KEY}"),))
    assert answer.choices[0].message.content == "hi"


def test_models_need_a_key_and_health_does_not(keyed_place: Place) -> None:
    assert keyed_place.http.get("/v1/models").status_code == 401
    assert keyed_place.http.get("/v1/models/echo").status_code == 401
    assert keyed_place.http.get("/health").status_code == 200
