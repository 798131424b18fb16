"""Settings of the servers, and what holds of every configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin

import pytest

from jaxchat.config import ChatConfig, EngineConfig, MeshConfig
from jaxchat.settings import setting_types, without_none
from serving.config import BackendConfig, LogConfig, MultihostConfig, RestConfig, ServeConfig

CONFIGS = (MeshConfig, EngineConfig, ChatConfig, RestConfig, ServeConfig, MultihostConfig, BackendConfig, LogConfig)


def choices() -> Iterator[Any]:
    """Yields the settings of all configurations that take one of a few names."""
    for config in CONFIGS:
        for field in fields(config):
            kind, _ = without_none(setting_types(config)[field.name])
            if get_origin(kind) is Literal:
                yield pytest.param(config, field.name, get_args(kind), id=f"{config.__name__}.{field.name}")


@pytest.mark.parametrize(("config", "name", "allowed"), list(choices()))
def test_a_choice_is_checked_and_the_message_names_all(config: Any, name: str, allowed: tuple[str, ...]) -> None:
    for value in allowed:
        assert getattr(config(**{name: value}), name) == value
    for wrong in ("nonsense", 1, True, [allowed[0]]):
        with pytest.raises((TypeError, ValueError), match=f"^{name} must be "):
            config(**{name: wrong})
    with pytest.raises(ValueError, match=r"got 'nonsense'$") as caught:
        config(**{name: "nonsense"})
    assert all(repr(value) in str(caught.value) for value in allowed)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_setting_refuses_a_value_of_another_type(config: Any) -> None:
    for field in fields(config):
        with pytest.raises((TypeError, ValueError), match=f"^{field.name} must be .*, got <object"):
            config(**{field.name: object()})


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (RestConfig, {"rest_port": -1}, "rest_port must be from 0 to 65535 or None, got -1"),
        (ServeConfig, {"grpc_port": 65536}, "grpc_port must be from 0 to 65535 or None, got 65536"),
        (ServeConfig, {"metrics_port": -1}, "metrics_port must be from 0 to 65535 or None, got -1"),
        (RestConfig, {"shutdown_grace": -1}, "shutdown_grace must be at least 0, got -1.0"),
        (RestConfig, {"max_body": 1}, "max_body must be at least 1024, got 1"),
        (RestConfig, {"host": ""}, "host must be a non-empty string, got ''"),
        (RestConfig, {"api_keys": ""}, "api_keys must be a non-empty string or None, got ''"),
        (ServeConfig, {"otlp_endpoint": ""}, "otlp_endpoint must be a non-empty string or None, got ''"),
        (ServeConfig, {"startup_prompt": ""}, "startup_prompt must be a non-empty string or None, got ''"),
        (RestConfig, {"tls_cert": "a"}, "tls_cert and tls_key belong together, only one of them was given"),
        (ServeConfig, {"tls_client_ca": "a"}, "tls_client_ca needs tls_cert and tls_key"),
        (BackendConfig, {"backend": ","}, "backend must have at least one HOST:PORT, got (',',)"),
        (BackendConfig, {"backend": []}, "backend must have at least one HOST:PORT, got ()"),
        (BackendConfig, {"backend_key": "a"}, "backend_cert and backend_key belong together"),
        (MultihostConfig, {"coordinator": "host"}, "coordinator must be host:port with a port from 1 to 65535"),
        (MultihostConfig, {"process_id": 1}, "process_id must be from 0 to 0, got 1"),
        (MultihostConfig, {"distributed_port": 65536}, "distributed_port must be from 0 to 65535, got 65536"),
        (MultihostConfig, {"step_timeout": float("nan")}, "step_timeout must be a finite number, got nan"),
        (LogConfig, {"log_format": "xml"}, "log_format must be 'text' or 'json', got 'xml'"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(config: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        config(**settings)


@pytest.mark.parametrize(
    ("config", "name", "message"),
    [
        (ServeConfig, "greeting", "unknown setting 'greeting': it is now 'startup_prompt'"),
        (RestConfig, "grace", "unknown setting 'grace': it is now 'shutdown_grace'"),
        (ServeConfig, "restport", "unknown setting 'restport': did you mean 'rest_port'?"),
        (LogConfig, "level", "unknown setting 'level': did you mean 'log_level'?"),
    ],
)
def test_an_unknown_setting_names_the_nearest_one(config: Any, name: str, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        config(**{name: "a"})


def test_the_address_of_process_0() -> None:
    config = MultihostConfig(processes=2, coordinator="host:8476")
    assert (config.address, config.host, config.port) == ("host:8476", "host", 8476)
    assert MultihostConfig().address == ""


@pytest.mark.parametrize("backend", [" a:1, b:2", ("a:1", "b:2"), ["a:1,b:2", "a:1"]])
def test_several_backends(backend: Any) -> None:
    assert BackendConfig(backend=backend).backend == ("a:1", "b:2")
    assert BackendConfig(backend="a:1").backend == ("a:1",)
