"""API keys: the file, the check, and what is open without a key."""

from __future__ import annotations

import hashlib

import grpc
import httpx
import openai
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jaxchat.client import Client
from jaxchat.errors import ChatError
from serving.auth import new_key, read_keys
from serving.cli.main import main
from tests.serving.conftest import Behind, Running

HELLO = {"model": "fake", "messages": [{"role": "user", "content": "hello"}]}
KEY, PLAIN = "jc-hashed", "plain#key"
FILE = f"# for tests\n\nsha256:{hashlib.sha256(KEY.encode()).hexdigest().upper()}  # bob\n{PLAIN}\t# alice\n"


@pytest.fixture
def key_file(tmp_path):
    def write(text):
        path = tmp_path / "keys"
        path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
        return str(path)

    return write


@pytest.mark.parametrize("key", [KEY, PLAIN])
@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_keys_that_are_let_in(key_file, scheme, key):
    read_keys(key_file(FILE)).check(scheme + key)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        KEY,
        f"Basic {KEY}",
        "Bearer plain",
        f"Bearer {KEY}x",
        "Bearer \xff\ud800",
        "Bearer sha256:",
    ],
)
def test_others_are_refused(key_file, authorization):
    with pytest.raises(ChatError) as caught:
        read_keys(key_file(FILE)).check(authorization)
    assert (caught.value.http_status, caught.value.code) == (401, "invalid_api_key")


def test_the_hash_of_a_key_is_no_key(key_file):
    line = FILE.splitlines()[2].split()[0]
    with pytest.raises(ChatError):
        read_keys(key_file(FILE)).check(f"Bearer {line}")


def test_only_hashes_stay_in_memory(key_file):
    assert PLAIN not in repr(vars(read_keys(key_file(FILE))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# none\n", "the file has no keys"),
        ("good\nsha256:12\n", "line 2: 'sha256:' must be followed by 64 hexadecimal digits"),
        ("secret with spaces", "line 1: a key has printable ASCII"),
        ("clé", "line 1: a key has printable ASCII"),
        (b"\xff", "not a text file"),
    ],
)
def test_files_that_cannot_be_used(key_file, text, message):
    with pytest.raises(ValueError, match=r"^--api-keys .*keys") as caught:
        read_keys(key_file(text))
    assert message in str(caught.value)
    assert "secret" not in str(caught.value) and "clé" not in str(caught.value)


def test_a_missing_file_is_named_before_a_model_loads(capsys):
    assert main(["serve", "--api-keys", "/nowhere/keys"]) == 1
    assert capsys.readouterr().err == "jaxchat: --api-keys /nowhere/keys: No such file or directory\n"


def test_the_command_makes_a_key_that_its_line_lets_in(key_file, capsys):
    assert main(["keys"]) == 0
    key, line = (text.split()[1] for text in capsys.readouterr().out.splitlines())
    read_keys(key_file(line)).check(f"Bearer {key}")
    assert new_key()[0] != key


def test_grpc(run, key_file):
    server = run(api_keys=key_file(FILE))
    with Client(server.grpc, api_key=KEY) as client:
        assert client.chat.completions.create(**HELLO).choices[0].message.content == "hello "
        assert len(client.models.list()) == 1
    for key in (None, "wrong"):
        with Client(server.grpc, api_key=key) as client:
            for call in (
                client.models.list,
                lambda: client.models.retrieve("fake"),
                lambda: client.chat.completions.create(**HELLO),
                lambda: client.chat.completions.create(**HELLO, stream=True),
            ):
                with pytest.raises(ChatError) as caught:
                    call()
                assert (caught.value.http_status, caught.value.code) == (401, "invalid_api_key")
                assert caught.value.request_id
    with grpc.insecure_channel(server.grpc) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("kind", [Running, Behind])
def test_rest(run, key_file, kind):
    server = run(kind, api_keys=key_file(FILE))
    openai.OpenAI(base_url=f"{server.rest}/v1", api_key=KEY).chat.completions.create(**HELLO)
    with pytest.raises(openai.AuthenticationError) as caught:
        openai.OpenAI(base_url=f"{server.rest}/v1", api_key="wrong").chat.completions.create(**HELLO, stream=True)
    assert caught.value.code == "invalid_api_key"
    with httpx.Client(base_url=server.rest, trust_env=False) as http:
        refused = http.get("/v1/models")
        assert (refused.status_code, refused.json()["error"]["type"]) == (401, "invalid_request_error")
        assert "x-request-id" in refused.headers
        assert http.get("/health").status_code == 200
        assert http.get("/v1/models", headers={"authorization": b"Bearer \xff"}).status_code == 401


def test_rest_refuses_before_it_reads_and_everywhere_but_at_health(run, key_file):
    server = run(api_keys=key_file(FILE))
    with httpx.Client(base_url=server.rest, trust_env=False) as http:
        for path in ("/metrics", "/nowhere", "/health/", f"{server.rest}//health"):
            assert http.get(path).status_code == 401
        refused = http.post("/v1/chat/completions", content=b"{", headers={"content-type": "text/plain"})
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert http.get("/metrics", headers={"authorization": f"Bearer {KEY}"}).status_code == 200


def test_a_front_with_keys_of_its_own(run, key_file):
    server = run(Behind, front={"api_keys": key_file(FILE)})
    with httpx.Client(base_url=server.rest, trust_env=False) as http:
        assert http.get("/v1/models").status_code == 401
        assert http.get("/v1/models", headers={"authorization": f"Bearer {PLAIN}"}).status_code == 200
