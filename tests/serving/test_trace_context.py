"""The caller's trace reaches the session from every door, and through a REST process."""

from __future__ import annotations

import grpc
import httpx
import pytest

from jaxchat import v1
from jaxchat.v1.service_pb2_grpc import ChatServiceStub
from serving.trace_context import trace_headers
from tests.serving.conftest import Behind

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BODY = {"model": "fake", "messages": [{"role": "user", "content": "hi"}]}


def seen(running) -> tuple[str, str]:
    call = running.session.calls.pop()
    return call.traceparent, call.tracestate


@pytest.mark.parametrize("stream", [False, True])
def test_over_rest(server, stream) -> None:
    headers = [("Traceparent", PARENT), ("tracestate", "a=1"), ("TraceState", "b=2")]
    httpx.post(f"{server.rest}/v1/chat/completions", json=BODY | {"stream": stream}, headers=headers, trust_env=False)
    assert seen(server) == (PARENT, "a=1,b=2")


def test_over_rest_without_a_trace(server) -> None:
    httpx.post(f"{server.rest}/v1/chat/completions", json=BODY, trust_env=False)
    assert seen(server) == ("", "")


def ask(running, metadata) -> tuple[str, str]:
    request = v1.ChatCompletionRequest(model="fake", messages=[v1.ChatMessage(role=v1.ROLE_USER, text="hi")])
    with grpc.insecure_channel(running.grpc) as channel:
        chat = ChatServiceStub(channel)
        chat.Complete(request, metadata=metadata)
        plain = seen(running)
        list(chat.Stream(request, metadata=metadata))
        assert seen(running) == plain
    return plain


def test_over_grpc(server) -> None:
    metadata = (("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2"))
    assert ask(server, metadata) == (PARENT, "a=1,b=2")
    assert ask(server, ()) == ("", "")


def test_two_parents_are_none(server) -> None:
    headers = [("traceparent", PARENT), ("traceparent", PARENT)]
    httpx.post(f"{server.rest}/v1/chat/completions", json=BODY, headers=headers, trust_env=False)
    assert seen(server) == ("", "")


def test_through_a_rest_process(run) -> None:
    running = run(kind=Behind)
    headers = {"traceparent": PARENT, "tracestate": "a=1"}
    httpx.post(f"{running.rest}/v1/chat/completions", json=BODY, headers=headers, trust_env=False)
    assert seen(running) == (PARENT, "a=1")
    raw = {"traceparent": b"\xe9", "tracestate": b"a=1\xe9"}  # gRPC could not send these
    reply = httpx.post(f"{running.rest}/v1/chat/completions", json=BODY, headers=raw, trust_env=False)
    assert reply.status_code == 200 and seen(running) == ("", "")


@pytest.mark.parametrize("value", ["x" * 8193, "a\nb", "é"])
def test_what_no_header_may_be_is_dropped(value) -> None:
    assert trace_headers([("traceparent", value), ("tracestate", value)]) == {"traceparent": "", "tracestate": ""}
