"""The server class for Ray Serve LLM without Ray: its methods as Ray's ingress calls them. `make ray` has Ray."""

from __future__ import annotations

import importlib
import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
from pydantic import BaseModel, ConfigDict

from jaxchat.config import EngineConfig
from serving.config import MultihostConfig
from tests.serving.fake_session import FakeSession

MESSAGES = [{"role": "user", "content": "hi you"}]
CONFIGS = "ray.llm._internal.serve.core.configs.openai_api_models"
MODULES = ("ray.util.scheduling_strategies", CONFIGS, "ray.llm._internal.serve.core.protocol")
RESPONSES = ("ChatCompletionResponse", "CompletionResponse", "TokenizeResponse", "DetokenizeResponse")

pytestmark = pytest.mark.filterwarnings("ignore:coroutine 'RayLLMServer.__del__'")  # Ray awaits it


class Request(BaseModel):
    """A request as Ray's ingress reads it: with fields that the client did not send."""

    model_config = ConfigDict(extra="allow")

    temperature: float | None = None
    repetition_detection: float | None = 3.0


class Group:
    """A group without processes. Its session answers without a model."""

    closed = False

    def __init__(self, config):
        self.session = FakeSession()

    async def start(self):
        await self.session.start()
        return self.session

    async def close(self):
        self.closed = True


@pytest.fixture
def recipes(monkeypatch):
    """The modules of the recipe, for which the names of Ray that they import are empty."""
    for name in MODULES:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            if (path := ".".join(parts[:end])) not in sys.modules:
                monkeypatch.setitem(sys.modules, path, ModuleType(path))
    for parent in ("ray", "ray.llm._internal.serve.core.configs"):
        vars(sys.modules[parent]).update(util=None, openai_api_models=sys.modules[CONFIGS])
    sys.modules["ray"].remote = lambda **options: lambda cls: cls
    sys.modules[MODULES[0]].PlacementGroupSchedulingStrategy = None
    sys.modules[MODULES[2]].LLMServerProtocol = object
    allow = ConfigDict(extra="allow")
    for name in (*RESPONSES, "ErrorInfo", "ErrorResponse"):
        setattr(sys.modules[CONFIGS], name, type(name, (BaseModel,), {"model_config": allow}))
    group = importlib.import_module("serving.deploy.ray_group")
    llm = importlib.import_module("serving.deploy.ray_llm")
    for module in (group, llm):
        monkeypatch.delitem(sys.modules, module.__name__)
    monkeypatch.setattr(llm, "Group", Group)
    return SimpleNamespace(group=group, llm=llm)


def llm_config(**changes):
    unset = dict.fromkeys(("placement_group_config", "runtime_env", "lora_config", "accelerator_type"))
    loading = SimpleNamespace(model_source=None, tokenizer_source=None)
    names = {"model_id": "fake", "model_loading_config": loading, "engine_kwargs": {}, "deployment_config": {}}
    return SimpleNamespace(**unset | names | changes)


async def started(recipes, config=None):
    server = object.__new__(recipes.llm.RayLLMServer)  # Ray awaits its __init__
    await server.__init__(config or llm_config())
    return server


async def collect(answers):
    return [answer async for answer in answers]


async def test_answers_are_those_of_the_rest_server(recipes):
    server = await started(recipes)
    info = SimpleNamespace(headers={"X-Request-Id": "mine", "content-length": "9999"})
    (whole,) = await collect(server.chat(Request(model="fake", messages=MESSAGES), info))
    body = whole.model_dump()
    assert body["choices"][0]["message"]["content"] == "hi you " and body["object"] == "chat.completion"
    assert "repetition_detection" not in body
    assert server._session.request_ids == ["mine"]
    events = "".join(await collect(server.chat(Request(model="fake", messages=MESSAGES, stream=True), info)))
    lines = [line.removeprefix("data: ") for line in events.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    deltas = [choice["delta"] for line in lines for choice in json.loads(line)["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "hi you "
    (text,) = await collect(server.completions(Request(model="fake", prompt="hi")))
    assert text.model_dump()["choices"][0]["text"] == "hi"
    (tokens,) = await collect(server.tokenize(Request(prompt="abc")))
    assert tokens.model_dump()["tokens"] == [3]
    (text,) = await collect(server.detokenize(Request(tokens=[3])))
    assert text.model_dump() == {"prompt": "xxx"}


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"model": "nobody"}, 404, "nobody"),
        ({"temperature": 9.0}, 400, "temperature"),
        ({"temprature": 1.0}, 400, "temprature"),
        ({"temperature": 9.0, "stream": True}, 400, "temperature"),
    ],
)
async def test_a_rejected_request_gives_the_words_and_the_status_of_the_error(recipes, fields, status, text):
    server = await started(recipes)
    (error,) = await collect(server.chat(Request(**{"model": "fake", "messages": MESSAGES, **fields})))
    assert error.error.code == status and text in error.error.message


async def test_a_torn_stream_ends_with_an_error_and_without_done(recipes):
    server = await started(recipes)
    torn = Request(model="fake", messages=[{"role": "user", "content": "tear"}], stream=True)
    events = await collect(server.chat(torn))
    assert "error" in json.loads(events[-1].removeprefix("data: "))


async def test_what_jaxchat_lacks_is_refused_by_name(recipes):
    server = await started(recipes)
    for method in (server.embeddings, server.transcriptions, server.score):
        (error,) = await collect(method(Request()))
        assert error.error.code == 501 and "/v1/" in error.error.message
    for name in ("sleep", "wakeup", "pause", "resume", "start_profile", "stop_profile"):
        with pytest.raises(NotImplementedError, match=name):
            await getattr(server, name)()
    assert not await server.is_sleeping() and not await server.is_paused()


async def test_health_load_and_end_are_those_of_the_session(recipes):
    server = await started(recipes)
    await server.check_health()
    stats = await server.record_routing_stats()
    assert stats == {"num_requests_waiting": 3, "num_requests_running": 2, "kv_cache_usage_perc": 0.25}
    server._session.ready = False
    with pytest.raises(RuntimeError, match="engine has stopped"):
        await server.check_health()
    await server.__del__()
    assert server._group.closed


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"lora_config": {"max_num_adapters_per_replica": 2}}, "lora_config is not supported"),
        ({"accelerator_type": "H100"}, "accelerator_type .* is not supported, got 'H100'"),
        (
            {"placement_group_config": {"bundles": [{"CPU": 1}]}},
            "placement_group_config is not supported, got .'bundles'",
        ),
    ],
)
def test_what_is_not_applied_of_rays_configuration_is_refused(recipes, changes, text):
    with pytest.raises(ValueError, match=text):
        recipes.llm.RayLLMServer.get_deployment_options(llm_config(**changes))


async def test_a_model_under_another_name_is_refused(recipes):
    loading = SimpleNamespace(model_source="fake", tokenizer_source=None)
    with pytest.raises(ValueError, match="model_id must be 'fake', the id of the model, got 'other'"):
        await started(recipes, llm_config(model_id="other", model_loading_config=loading))


def test_settings_of_the_engine_and_of_the_group_are_read_from_engine_kwargs(recipes):
    read = recipes.group.GroupConfig.of
    config = read("bundled", {"slots": 2, "processes": 3, "heartbeat": 5.0})
    assert (config.engine, config.multihost.processes) == (EngineConfig(slots=2), 3)
    assert read("bundled", {}).multihost == MultihostConfig()
    with pytest.raises(TypeError, match="did you mean 'slots'"):
        read("bundled", {"slot": 2})
    with pytest.raises(ValueError, match="coordinator must not be given"):
        read("bundled", {"coordinator": "host:1"})


def test_each_process_of_a_replica_has_a_bundle_on_a_node_of_its_own(recipes):
    bundle = {"CPU": 2, "TPU": 4}
    config = llm_config(
        engine_kwargs={"processes": 2},
        placement_group_config={"bundle_per_worker": bundle},
        deployment_config={"num_replicas": 3},
    )
    assert recipes.llm.RayLLMServer.get_deployment_options(config) == {
        "num_replicas": 3,
        "placement_group_bundles": [bundle, bundle],
        "placement_group_strategy": "STRICT_SPREAD",
        "ray_actor_options": {"num_cpus": 2, "num_gpus": 0, "resources": {"TPU": 4}},
    }
