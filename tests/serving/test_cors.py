"""Calls from web pages: preflights and the headers with which browsers let a page read the answer."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from serving.config import RestConfig
from serving.rest.cors import CrossOrigin

CHAT = "/v1/chat/completions"
BODY = {"model": "fake", "messages": [{"role": "user", "content": "hello"}]}
ASKED = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-stainless-os"}
LOCAL = ["http://localhost:5173", "https://localhost", "http://127.0.0.1:1", "http://[::1]:3000", "HTTP://LocalHost:80"]
FOREIGN = [
    "https://chat.example",
    "http://localhost.evil.example",
    "http://evil.example:80/localhost",
    "null",
    "file://localhost",
    "http://[",
    "",
]


def preflight(http: httpx.Client, origin: str, **more: str) -> httpx.Response:
    return http.options(CHAT, headers={"origin": origin, **ASKED, **more})


@pytest.fixture
def http(server):
    with httpx.Client(base_url=server.rest, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("origin", LOCAL)
def test_pages_from_localhost_may_call(http, origin):
    reply = preflight(http, origin)
    assert (reply.status_code, reply.content) == (204, b"")
    assert reply.headers["access-control-allow-origin"] == origin
    assert reply.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert "access-control-allow-private-network" not in reply.headers
    assert "Origin" in reply.headers["vary"] and reply.headers["x-request-id"]


@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"temperature": 9}])
def test_answers_and_errors_can_be_read_by_the_page(http, fields):
    reply = http.post(CHAT, json=BODY | fields, headers={"origin": LOCAL[0]})
    assert reply.status_code == (400 if "temperature" in fields else 200)
    assert reply.headers["access-control-allow-origin"] == LOCAL[0]
    assert "x-request-id" in reply.headers["access-control-expose-headers"]
    assert "Origin" in reply.headers["vary"]
    assert "access-control-allow-credentials" not in reply.headers


@pytest.mark.parametrize("origin", FOREIGN)
def test_other_pages_may_not(http, origin):
    refused = preflight(http, origin)
    assert refused.status_code == 403 and "--cors-origin" in refused.json()["error"]["message"]
    for reply in (refused, http.post(CHAT, json=BODY, headers={"origin": origin})):
        assert not [name for name in reply.headers if name.startswith("access-control")]


def test_the_host_header_does_not_make_an_origin_the_servers_own(http):
    reply = http.options(CHAT, headers={"origin": "http://evil.example", "host": "evil.example", **ASKED})
    assert reply.status_code == 403


def test_requests_without_a_page_are_as_before(http):
    reply = http.post(CHAT, json=BODY)
    assert reply.status_code == 200 and "vary" not in reply.headers
    assert not [name for name in reply.headers if name.startswith("access-control")]
    assert http.options(CHAT).status_code == http.options(CHAT, headers={"origin": LOCAL[0]}).status_code == 405


def test_private_networks_are_allowed_where_the_page_is(http):
    reply = preflight(http, LOCAL[0], **{"access-control-request-private-network": "true"})
    assert reply.headers["access-control-allow-private-network"] == "true"


@pytest.mark.parametrize(
    ("setting", "allowed", "refused"),
    [
        (("https://chat.example",), {"https://chat.example": None, **dict.fromkeys(LOCAL)}, ["http://chat.example"]),
        (("*",), {"https://any.example": "*", "null": "*"}, []),
        (None, {}, LOCAL),
    ],
)
def test_origins_that_the_operator_names(run, tmp_path, setting, allowed, refused):
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    running = run(cors_origin=setting, api_keys=str(keys))
    with httpx.Client(base_url=running.rest, trust_env=False) as http:
        for origin, value in allowed.items():
            assert preflight(http, origin).headers["access-control-allow-origin"] == value or origin
            without_key = http.post(CHAT, json=BODY, headers={"origin": origin})
            assert without_key.status_code == 401
            assert without_key.headers["access-control-allow-origin"] == (value or origin)
        for origin in refused:
            assert preflight(http, origin).status_code in (401, 403)
            assert "access-control-allow-origin" not in http.get("/health", headers={"origin": origin}).headers


@pytest.mark.parametrize(
    "origin", ["", "chat.example", "http://", "http://a/", "http://a/b", "http://a b", "localhost:1"]
)
def test_a_setting_that_is_not_an_origin_is_refused(origin):
    with pytest.raises(ValueError, match="cors_origin must be"):
        RestConfig(cors_origin=("http://ok.example:8080", origin))
    assert RestConfig(cors_origin=["http://[::1]:3000", "*"]).cors_origin == ("http://[::1]:3000", "*")


@pytest.mark.parametrize(
    ("own", "origin", "allowed"),
    [
        (("::ffff:192.168.1.5", 8000), "http://192.168.1.5:3000", True),  # an IPv4 client of a listener for both
        (("fe80::1%eth0", 8000), "http://[fe80::1]:3000", True),
        (("192.168.1.5", 8000), "http://192.168.1.6:3000", False),
        (None, "null", False),
        (None, "http://127.0.0.1", True),
        (("192.168.1.5", 8000), "https://chat.example", True),  # browsers leave out the default port
        (("192.168.1.5", 8000), "https://chat.example:8443", False),
    ],
)
def test_the_servers_own_address_in_all_its_spellings(own, origin, allowed):
    app = CrossOrigin(None, ["https://chat.example:443"])
    scope = {"type": "http", "method": "OPTIONS", "path": CHAT, "server": own, "query_string": b""}
    scope["headers"] = [(b"origin", origin.encode()), *((key.encode(), value.encode()) for key, value in ASKED.items())]
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, None, send))
    assert sent[0]["status"] == (204 if allowed else 403)
