"""The gRPC server with plain stubs: messages, statuses, details, health, cancellation."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from jaxchat import v1
from jaxchat.v1.service_pb2_grpc import ChatServiceStub
from serving.grpc.server import SERVICE, ChatServicer, GrpcServer
from tests.serving.fake_session import FakeSession


@pytest.fixture
def stub(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield ChatServiceStub(channel)


def ask(text="hello", **fields):
    message = v1.ChatMessage(role=v1.ROLE_USER, text=text)
    return v1.ChatCompletionRequest(model="fake", messages=[message], **fields)


def details(error, kind):
    message = kind()
    status = rpc_status.from_call(error)
    assert status is not None
    return next((message for detail in status.details if detail.Unpack(message)), None)


def test_complete_and_stream_agree(stub):
    completion = stub.Complete(ask("a b", n=2))
    chunks = list(stub.Stream(ask("a b", n=2)))
    for i in range(2):
        text = "".join(c.delta.content for chunk in chunks for c in chunk.choices if c.index == i)
        assert text == completion.choices[i].message.content == "a b "
    assert [chunk.choices[0].index for chunk in chunks[:2]] == [0, 1]
    assert completion.seed_used == -7


def test_a_taken_port_is_named_with_the_reason(server):
    host, port = server.grpc.rsplit(":", 1)

    async def start_second() -> None:
        await GrpcServer(FakeSession(), host=host, port=int(port), max_body=1000).start()

    message = rf"cannot listen on {server.grpc}: .+ has port {port}; choose another one by --grpc-port"
    with pytest.raises(OSError, match=message):
        server.wait(start_second())


def test_usage_chunk(stub):
    request = ask(stream_options=v1.StreamOptions(include_usage=True))
    *others, last = stub.Stream(request)
    assert not last.choices and last.usage.total_tokens == 2
    assert not any(chunk.HasField("usage") for chunk in others)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Complete(request)
    assert details(caught.value, error_details_pb2.ErrorInfo).metadata["param"] == "stream_options"


def test_invalid_argument_has_details(stub):
    with pytest.raises(grpc.RpcError) as caught:
        stub.Complete(ask(temperature=3), metadata=(("x-request-id", "mine"),))
    error = caught.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "Invalid value for 'temperature': must be from 0 to 2, got 3.0."
    info = details(error, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == ("invalid_request", "jaxchat")
    assert dict(info.metadata) == {
        "type": "invalid_request_error",
        "param": "temperature",
        "http_status": "400",
    }
    violation = details(error, error_details_pb2.BadRequest).field_violations[0]
    assert (violation.field, violation.description) == ("temperature", error.details())
    assert details(error, error_details_pb2.RequestInfo).request_id == "mine"
    assert dict(error.initial_metadata())["x-request-id"] == "mine"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (v1.ChatCompletionRequest(model="other", messages=ask().messages), grpc.StatusCode.NOT_FOUND),
        (ask("full"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (ask("nan"), grpc.StatusCode.INTERNAL),
        (ask("bug"), grpc.StatusCode.INTERNAL),
        (ask("x" * 200_000), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
def test_statuses(stub, request_, code):
    for call in (stub.Complete, lambda request: list(stub.Stream(request))):
        with pytest.raises(grpc.RpcError) as caught:
            call(request_)
        assert caught.value.code() is code
        assert "secret" not in caught.value.details()


def test_retry_info(stub):
    with pytest.raises(grpc.RpcError) as caught:
        stub.Complete(ask("full"))
    retry = details(caught.value, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToMilliseconds() == 1


def test_torn_stream_ends_with_error(stub):
    stream = stub.Stream(ask("a tear b"))
    texts = []
    with pytest.raises(grpc.RpcError) as caught:
        for chunk in stream:
            texts.append(chunk.choices[0].delta.content)
    assert texts == ["", "a ", "tear "]
    assert caught.value.code() is grpc.StatusCode.INTERNAL


def test_cancel_frees_the_slot(server, stub):
    stream = stub.Stream(ask("hang"))
    next(stream)
    server.wait(server.session.until_running(1))
    stream.cancel()
    server.wait(server.session.until_running(0))


def test_deadline_frees_the_slot(server, stub):
    with pytest.raises(grpc.RpcError) as caught:
        stub.Complete(ask("hang"), timeout=0.05)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    server.wait(server.session.until_running(0))


def test_models(stub):
    assert [model.id for model in stub.ListModels(v1.ListModelsRequest()).models] == ["fake"]
    assert stub.GetModel(v1.GetModelRequest(model="fake")).owned_by == "tests"
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetModel(v1.GetModelRequest(model="other"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("name", ["", SERVICE])
def test_health_flips(server, name):
    with grpc.insecure_channel(server.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=name)
        assert health.Check(request).status == health_pb2.HealthCheckResponse.SERVING
        server.wait(server.servers.refuse())
        assert health.Check(request).status == health_pb2.HealthCheckResponse.NOT_SERVING
        server.wait(server.servers._grpc.set_serving(True))


def test_reflection(server):
    with grpc.insecure_channel(server.grpc) as channel:
        services = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert SERVICE in services and "grpc.health.v1.Health" in services


async def test_stopping_lets_answers_go_out():
    session = FakeSession()
    await session.start()
    server = GrpcServer(session, host="127.0.0.1", port=0, max_body=100_000)
    await server.start()
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
        answer = asyncio.ensure_future(ChatServiceStub(channel).Complete(ask("x" * 90_000, n=128)))
        await session.until_running(1)
        await session.until_running(0)
        await server.stop(10)
        assert len((await answer).choices[127].message.content) == 90_001


async def test_stopping_does_not_wait_for_health_watchers():
    session = FakeSession()
    server = GrpcServer(session, host="127.0.0.1", port=0, max_body=100_000)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        await asyncio.wait_for(server.stop(1000), 10)


class _Gone:
    """The context of a call whose client has left before the first byte."""

    def add_done_callback(self, callback):
        self.callback = callback

    def invocation_metadata(self):
        return ()

    async def send_initial_metadata(self, metadata):
        raise grpc.aio.InternalError("Failed 'execute_batch'")


async def test_a_client_that_left_before_the_answer_is_a_cancelled_call(caplog):
    with pytest.raises(asyncio.CancelledError):
        await ChatServicer(FakeSession()).Complete(ask(), _Gone())
    assert not caplog.records
