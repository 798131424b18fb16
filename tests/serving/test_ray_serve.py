"""The replica of the Ray Serve recipe without Ray: its calls as Ray makes them, its messages as clients see them."""

from __future__ import annotations

import asyncio
import importlib
import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jaxchat import v1
from jaxchat.chat.context import RequestContext
from jaxchat.client.grpc_errors import from_rpc
from jaxchat.errors import ChatError
from jaxchat.v1 import service_pb2_grpc
from serving.config import BackendConfig
from serving.remote_backend import RemoteBackend
from tests.serving.conftest import PATIENCE
from tests.serving.fake_session import FakeSession

GOOD = v1.ChatCompletionRequest(model="fake", messages=[v1.ChatMessage(role=v1.ROLE_USER, text="hi you")])
TEXT = v1.TextCompletionRequest(model="fake", prompt=[v1.TextPrompt(text="hi")])
BAD_TEXT = v1.TextCompletionRequest(model="nobody", prompt=TEXT.prompt)
BAD = v1.ChatCompletionRequest(model="nobody", messages=GOOD.messages)

pytestmark = pytest.mark.filterwarnings("ignore:coroutine 'Replica.__del__'")  # Ray awaits it


class Context:
    """What Ray gives a call, and sends with every message that the call returns."""

    code, details, trailers = None, "", ()

    def invocation_metadata(self):
        return [("x-request-id", "mine")]

    def set_code(self, code):
        self.code = code

    def set_details(self, details):
        self.details = details

    def set_trailing_metadata(self, trailers):
        self.trailers = trailers


@pytest.fixture
async def replica(monkeypatch):
    """A replica of a session that answers without a model; the names of Ray that its module imports are empty."""
    names = {"": ["serve", "remote"], ".serve": [], ".serve.config": ["HTTPOptions", "gRPCOptions"], ".util": []}
    names |= {".serve.grpc_util": ["RayServegRPCContext"]}
    names |= {".util.scheduling_strategies": ["PlacementGroupSchedulingStrategy"]}
    for name, members in names.items():
        module = ModuleType(f"ray{name}")
        vars(module).update(dict.fromkeys(members))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    sys.modules["ray"].serve = SimpleNamespace(deployment=lambda **options: lambda cls: cls)
    sys.modules["ray"].remote = lambda **options: lambda cls: cls
    recipe = importlib.import_module("serving.deploy.ray_serve")
    for module in (recipe.__name__, "serving.deploy.ray_group"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(recipe.Group, "_load", lambda self: FakeSession())
    monkeypatch.setattr(recipe, "WATCH", 1)
    found = object.__new__(recipe.Replica)  # Ray awaits its __init__
    await found.__init__(recipe.GroupConfig())
    return found


async def test_answers_are_those_of_the_session(replica):
    context = Context()
    whole = await replica.Complete(GOOD, context)
    chunks = [chunk async for chunk in replica.Stream(GOOD, context)]
    assert whole.choices[0].message.content == "".join(c.delta.content for chunk in chunks for c in chunk.choices) != ""
    assert context.code is None
    assert [model.id for model in (await replica.ListModels(v1.ListModelsRequest(), context)).models] == ["fake"]


async def test_texts_and_token_ids_are_those_of_the_session(replica):
    context = Context()
    assert (await replica.CompleteText(TEXT, context)).choices[0].text == "hi"
    assert [part.choices[0].text async for part in replica.StreamText(TEXT, context)] == ["hi"]
    assert (await replica.Tokenize(v1.TokenizeRequest(prompt="abc"), context)).tokens == [3]
    assert (await replica.Detokenize(v1.DetokenizeRequest(tokens=[3]), context)).prompt == "xxx"
    assert (await replica.Render(v1.RenderRequest(text=TEXT), context)).prompts[0].ids == [0, 1]
    assert (await replica.GetCapabilities(v1.GetCapabilitiesRequest(), context)).model == "fake"
    assert context.code is None


async def test_a_failed_call_returns_an_empty_message_and_leaves_the_details_in_its_context(replica):
    async def streamed(context):
        return [chunk async for chunk in replica.Stream(BAD, context)]

    async def streamed_text(context):
        return [part async for part in replica.StreamText(BAD_TEXT, context)]

    calls = [
        (v1.ChatCompletion(), lambda context: replica.Complete(BAD, context)),
        (v1.Model(), lambda context: replica.GetModel(v1.GetModelRequest(model="nobody"), context)),
        ([v1.ChatCompletionChunk()], streamed),
        (v1.TextCompletion(), lambda context: replica.CompleteText(BAD_TEXT, context)),
        ([v1.TextCompletion()], streamed_text),
        (v1.TokenizeResponse(), lambda context: replica.Tokenize(v1.TokenizeRequest(model="nobody"), context)),
    ]
    for empty, call in calls:
        context = Context()
        assert await call(context) == empty
        error = from_rpc(context.code, context.details, context.trailers)
        assert (error.http_status, error.code, error.request_id) == (404, "model_not_found", "mine")


async def test_a_replica_tells_its_health_and_ends_the_watch(replica):
    request = health_pb2.HealthCheckRequest()
    watched = [answer.status async for answer in replica.Watch(request)]
    assert watched == [health_pb2.HealthCheckResponse.SERVING] == [(await replica.Check(request)).status]
    await replica.check_health()
    replica._session.ready = False
    assert (await replica.Check(request)).status == health_pb2.HealthCheckResponse.NOT_SERVING
    with pytest.raises(RuntimeError, match="engine has stopped"):
        await replica.check_health()


class Proxy(service_pb2_grpc.ChatServiceServicer, health_pb2_grpc.HealthServicer):
    """Sends what Ray's proxy sends: the empty chunk of a failed stream, its status, and watches that end."""

    watches = 0

    def Stream(self, request, context):
        yield v1.ChatCompletionChunk()
        context.set_code(grpc.StatusCode.NOT_FOUND)

    def Watch(self, request, context):
        self.watches += 1
        yield health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


async def test_rest_before_ray_drops_the_empty_chunk_and_takes_no_ended_watch_for_an_end(monkeypatch):
    monkeypatch.setattr("serving.remote_backend._RETRY", 0.01)
    proxy, server = Proxy(), grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_ChatServiceServicer_to_server(proxy, server)
    health_pb2_grpc.add_HealthServicer_to_server(proxy, server)
    backend = RemoteBackend(BackendConfig(backend=f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"))
    server.start()
    await backend.start()
    try:
        await asyncio.wait_for(backend.until_ready(), PATIENCE)
        seen = proxy.watches
        while proxy.watches < seen + 3:
            assert backend.ready
            await asyncio.sleep(0.01)
        chunks = []
        with pytest.raises(ChatError):
            async for chunk in backend.stream(GOOD, RequestContext(request_id="mine", authorization="")):
                chunks.append(chunk)
        assert chunks == []
    finally:
        await backend.close()
        server.stop(None)
