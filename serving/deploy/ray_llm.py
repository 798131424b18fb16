"""Serves a model under Ray Serve LLM, as the `server_cls` of an `LLMConfig`.

    from ray import serve
    from ray.serve.llm import LLMConfig, build_openai_app

    config = LLMConfig(
        model_loading_config={"model_id": "jaxchat-bundled", "model_source": "bundled"},
        server_cls="serving.deploy.ray_llm.RayLLMServer",
        engine_kwargs={"slots": 8},
    )
    serve.run(build_openai_app({"llm_configs": [config]}))

`engine_kwargs` has the settings of the engine, of requests and of multihost groups. With `processes`, each replica is a
group of that many processes, each on another node (`serving.deploy.ray_group`). docs/multihost.md tells more.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from ray.llm._internal.serve.core.configs import openai_api_models as ray_api
from ray.llm._internal.serve.core.protocol import LLMServerProtocol

from jaxchat.errors import ChatError, safe_repr
from jaxchat.model_directory import model_id
from jaxchat.openai_json import error_to_json
from serving.deploy.ray_group import STRATEGY, Group, GroupConfig, replica_options
from serving.rest import create_app
from serving.rest.in_process import post
from serving.rest.responses import dump

Answers = AsyncGenerator[Any, None]


class _Exact:
    """A mixin for Ray's answer classes. Their JSON is then that of jaxchat, without the keys that Ray would add."""

    body: Any

    def model_dump(self, **_: Any) -> Any:
        return self.body


class ChatAnswer(_Exact, ray_api.ChatCompletionResponse):
    body: Any


class TextAnswer(_Exact, ray_api.CompletionResponse):
    body: Any


class TokenizeAnswer(_Exact, ray_api.TokenizeResponse):
    body: Any


class DetokenizeAnswer(_Exact, ray_api.DetokenizeResponse):
    body: Any


def _unsupported(name: str) -> Any:
    """Returns a method of Ray's protocol that raises NotImplementedError."""

    async def refuse(self: Any, *_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"jaxchat does not support {name}")

    return refuse


class RayLLMServer(LLMServerProtocol):
    """A server of Ray Serve LLM. Each replica has its own engine, in one process or in a group of several.

    Args:
        llm_config: Ray's configuration of the model.

    Raises:
        ValueError: `model_id` is not the id of the model, or a setting is not allowed or not applied.
        TypeError: `engine_kwargs` has an unknown setting.
    """

    async def __init__(self, llm_config: Any) -> None:  # type: ignore[misc]  # Ray awaits it
        self._llm_config = llm_config
        await self.start()

    async def start(self) -> None:
        config = _config(self._llm_config)
        if (name := self._llm_config.model_id) != (served := model_id(config.model)):
            raise ValueError(f"model_id must be {served!r}, the id of the model, got {name!r}")
        self._group = Group(config)
        self._session = await self._group.start()
        self._app = create_app(self._session)

    async def __serve_build_asgi_app__(self) -> Any:
        """Returns the REST application. With Ray's direct streaming, clients reach it without Ray's ingress."""
        return self._app

    async def chat(self, request: Any, raw_request_info: Any = None) -> Answers:
        async for answer in self._ask("/v1/chat/completions", ChatAnswer, request, raw_request_info):
            yield answer

    async def completions(self, request: Any, raw_request_info: Any = None) -> Answers:
        async for answer in self._ask("/v1/completions", TextAnswer, request, raw_request_info):
            yield answer

    async def tokenize(self, request: Any, raw_request_info: Any = None) -> Answers:
        async for answer in self._ask("/tokenize", TokenizeAnswer, request, raw_request_info):
            yield answer

    async def detokenize(self, request: Any, raw_request_info: Any = None) -> Answers:
        async for answer in self._ask("/detokenize", DetokenizeAnswer, request, raw_request_info):
            yield answer

    async def embeddings(self, request: Any, raw_request_info: Any = None) -> Answers:
        yield _refusal("/v1/embeddings")

    async def transcriptions(self, request: Any, raw_request_info: Any = None) -> Answers:
        yield _refusal("/v1/audio/transcriptions")

    async def score(self, request: Any, raw_request_info: Any = None) -> Answers:
        yield _refusal("/v1/score")

    async def check_health(self) -> None:
        """Raises RuntimeError if the engine has stopped. Ray then replaces the replica."""
        if self._session.failed.is_set() or not self._session.ready:
            raise RuntimeError("the engine has stopped")

    async def reset_prefix_cache(self) -> None:
        """Drops the cached prefixes that no sequence uses."""
        self._session.forget_prefixes()

    async def record_routing_stats(self) -> dict[str, float]:
        """Returns the load, for Ray's request routers."""
        load = self._session.stats
        return {
            "num_requests_waiting": load.waiting,
            "num_requests_running": load.running,
            "kv_cache_usage_perc": load.pages_in_use / load.pages,
        }

    async def llm_config(self) -> Any:
        return self._llm_config

    async def is_sleeping(self) -> bool:
        return False

    async def is_paused(self) -> bool:
        return False

    sleep, wakeup, pause, resume = map(_unsupported, ("sleep", "wakeup", "pause", "resume"))
    start_profile, stop_profile = map(_unsupported, ("start_profile", "stop_profile"))
    collective_rpc = _unsupported("collective_rpc")

    async def __del__(self) -> None:
        await self._group.close()

    async def _ask(self, path: str, kind: Any, request: Any, raw_request_info: Any) -> Answers:
        """Asks the REST application. Yields an answer or an error as an object of Ray's class, or a stream's events."""
        body = dump(request.model_dump(mode="json", by_alias=True, exclude_unset=True)).encode()
        headers = raw_request_info.headers if raw_request_info else {}
        async with contextlib.aclosing(post(self._app, path, body, headers)) as messages:
            start = await anext(messages)
            streamed = dict(start["headers"])[b"content-type"].startswith(b"text/event-stream")
            text = b""
            async for message in messages:
                if streamed and message["body"]:
                    yield message["body"].decode()
                elif not streamed:
                    text += message["body"]
        if streamed:
            return
        answer = json.loads(text)
        yield kind.model_construct(body=answer) if start["status"] == 200 else _error(answer, start["status"])

    @classmethod
    def get_deployment_options(cls, llm_config: Any) -> dict[str, Any]:
        """Returns options of the deployment, with one bundle of resources for each process of a replica."""
        options = copy.deepcopy(llm_config.deployment_config)
        placement = llm_config.placement_group_config or {}
        bundle = placement.get("bundle_per_worker", {"CPU": 1})
        processes = _config(llm_config).multihost.processes
        made = replica_options(processes, bundle, placement.get("strategy", STRATEGY))
        actor = {**made.pop("ray_actor_options"), **options.pop("ray_actor_options", {})}
        if llm_config.runtime_env:
            actor["runtime_env"] = llm_config.runtime_env
        return {**options, **made, "ray_actor_options": actor}


def _refusal(path: str) -> Any:
    error = ChatError(f"jaxchat does not support {path}.", code="unsupported_endpoint", http_status=501)
    return _error(error_to_json(error), error.http_status)


def _error(body: Mapping[str, Any], status: int) -> Any:
    """Returns an error as an object of Ray's class. Its `code` is the HTTP status."""
    error = {**body["error"], "code": status}
    return ray_api.ErrorResponse(error=ray_api.ErrorInfo(**error))


def _config(llm_config: Any) -> GroupConfig:
    """Reads Ray's configuration. Raises ValueError for settings that this server does not apply."""
    loading, placement = llm_config.model_loading_config, llm_config.placement_group_config or {}
    source = loading.model_source or llm_config.model_id
    if not isinstance(source, str):
        raise ValueError(f"model_source must be a model's name or folder, got {safe_repr(source)}")
    for name, value in (
        ("lora_config", llm_config.lora_config),
        ("tokenizer_source", loading.tokenizer_source),
        ("accelerator_type (name its resource in bundle_per_worker)", llm_config.accelerator_type),
        ("placement_group_config", [key for key in placement if key not in ("bundle_per_worker", "strategy")]),
    ):
        if value:
            raise ValueError(f"{name} is not supported, got {safe_repr(value)}")
    return GroupConfig.of(source, llm_config.engine_kwargs)
