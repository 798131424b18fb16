"""Bodies of requests: compressed ones, those that would fill the memory, and JSON that is ambiguous."""

from __future__ import annotations

import gzip
import json
import zlib

import httpx
import pytest

CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "fake", "messages": [{"role": "user", "content": "hello"}]}).encode()
JSON = {"content-type": "application/json"}
LIMIT = 100_000  # bytes, of the server in tests/serving/conftest.py


@pytest.fixture
def http(server):
    with httpx.Client(base_url=server.rest, trust_env=False) as client:
        yield client


def post(http: httpx.Client, content, encoding: str | None = None) -> tuple[int, str | None, str]:
    """The status, and the code and the message of the error."""
    headers = JSON | ({"content-encoding": encoding} if encoding is not None else {})
    reply = http.post(CHAT, content=content, headers=headers)
    error = reply.json().get("error", {"code": None, "message": ""})
    return reply.status_code, error["code"], error["message"]


def padded(size: int) -> bytes:
    return BODY + b" " * (size - len(BODY))


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_gzip_is_decoded(http, encoding):
    assert post(http, gzip.compress(BODY), encoding)[0] == 200


def test_gzip_of_several_members_and_in_small_parts(http):
    data = gzip.compress(BODY[:20]) + gzip.compress(b"") + gzip.compress(BODY[20:])
    assert post(http, data, "gzip")[0] == 200
    assert post(http, (data[at : at + 1] for at in range(len(data))), "gzip")[0] == 200


def test_the_limit_is_on_what_gzip_decodes_to(http):
    assert post(http, gzip.compress(padded(LIMIT)), "gzip")[0] == 200
    assert post(http, gzip.compress(padded(LIMIT + 1)), "gzip")[:2] == (413, "request_too_large")
    bomb = gzip.compress(bytes(1 << 24))
    assert len(bomb) < LIMIT
    assert post(http, bomb, "gzip")[:2] == (413, "request_too_large")


def test_the_limit_is_on_what_is_received_too(http):
    member = gzip.compress(b"")
    small = (member * 1000 for _ in range(LIMIT // len(member) // 1000 + 2))  # it decodes to nothing
    assert post(http, small, "gzip")[:2] == (413, "request_too_large")


@pytest.mark.parametrize(
    "content",
    [BODY, gzip.compress(BODY)[:-1], gzip.compress(BODY)[:30], zlib.compress(BODY)],
    ids=["plain", "without its end", "cut", "zlib"],  # the bytes hold the time, and workers need equal names
)
def test_what_is_not_gzip_is_refused(http, content):
    assert post(http, content, "gzip")[:2] == (400, "invalid_json")
    damaged = gzip.compress(BODY)[:-8] + bytes(8)
    assert "not valid gzip" in post(http, damaged, "gzip")[2]


def test_an_empty_body_is_not_json(http):
    assert post(http, b"", "gzip")[:2] == (400, "invalid_json")


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "compress"])
def test_other_encodings_are_415(http, encoding):
    status, code, message = post(http, BODY, encoding)
    assert (status, code) == (415, None) and "gzip" in message and repr(encoding) in message
    assert post(http, BODY, "identity")[0] == post(http, BODY, "")[0] == 200


def test_a_byte_order_mark_is_ignored(http):
    assert post(http, b"\xef\xbb\xbf" + BODY)[0] == 200


REPEATED = [
    ('{"model": "fake", "model": "fake"}', "model"),
    ('{"messages": [{"role": "user", "content": "a", "content": "b"}]}', "messages.0.content"),
    ('{"tools": [{"function": {"parameters": {"properties": {"a": 1, "a": 1}}}}]}', "tools.0.function.parameters"),
    (
        '{"response_format": {"json_schema": {"schema": {"a": [{"b": 1, "b": 2}]}}}}',
        "response_format.json_schema.schema",
    ),
    ('{"chat_template_kwargs": {"a": {"b": 1, "b": 1}}}', "chat_template_kwargs.a.b"),
    ('{"logit_bias": {"5": 1, "5": 2}}', "logit_bias.5"),
]


@pytest.mark.parametrize(("body", "path"), REPEATED)
def test_a_key_given_twice_is_refused_by_its_path(http, body, path):
    reply = http.post(CHAT, content=body, headers=JSON)
    error = reply.json()["error"]
    assert reply.status_code == 400 and error["param"].startswith(path)
    assert error["message"] == f"Invalid value for '{error['param']}': The JSON object has this key twice."


def test_numbers_of_thousands_of_digits_are_refused_in_plain_words(http):
    status, _, message = post(http, b'{"seed": ' + b"9" * 5000 + b"}")
    assert status == 400 and "a number has 5000 digits" in message


def test_unknown_fields_hint_at_the_flag(http, run):
    fields = {"mood": 1, "verbosity": "low", "store": True}
    lenient = run(allow_unknown_fields=True)
    for name, value in fields.items():
        content = json.dumps(json.loads(BODY) | {name: value}).encode()
        assert "--allow-unknown-fields" in post(http, content)[2]
        with httpx.Client(base_url=lenient.rest, trust_env=False) as other:
            assert post(other, content)[0] == 200
    long = json.dumps({"\N{GRINNING FACE}" * 5000: 1, "store": "x" * 5000}).encode()
    assert len(post(http, long)[2]) <= 300
    assert "--allow-unknown-fields" in post(http, json.dumps({"store": "x" * 5000}).encode())[2]


def test_an_unknown_path_of_the_api_names_the_way_out(http):
    reply = http.get("/v1/responses/resp_1")
    assert reply.status_code == 404 and "it has only POST /v1/responses" in reply.json()["error"]["message"]
