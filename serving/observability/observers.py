"""Attaches the observers that a configuration switches on."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from jaxchat.chat.context import Observer
from serving.backend import Session
from serving.config import RestConfig, ServeConfig
from serving.observability.logs import RequestLog

if TYPE_CHECKING:
    from serving.observability.kv_events import KvEventPublisher
    from serving.observability.metrics import Metrics
    from serving.observability.tracing import Tracing


@dataclass(frozen=True)
class SessionObservers:
    """The observers that the server exposes or closes. Each is None if switched off."""

    metrics: Metrics | None
    tracing: Tracing | None
    kv_events: KvEventPublisher | None

    def close(self) -> None:
        """Sends everything that was not sent yet. Blocks for some seconds if a receiver is unreachable."""
        for observer in (self.tracing, self.kv_events):
            if observer:
                observer.close()


def check_extras(config: RestConfig) -> None:
    """Checks that the optional packages for `config` are installed. Raises ValueError, which names a missing extra."""
    serves_http = config.rest_port is not None
    if isinstance(config, ServeConfig):
        serves_http = serves_http or config.metrics_port is not None
        if config.otlp_endpoint and not _installed("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.grpc"):
            raise ValueError("--otlp-endpoint needs the extra 'otel': pip install 'jaxchat[otel]'")
        if config.kv_events and not _installed("zmq", "msgpack"):
            raise ValueError("--kv-events needs the extra 'kv-events': pip install 'jaxchat[kv-events]'")
    if serves_http and not _installed("starlette", "uvicorn", "prometheus_client"):
        raise ValueError(
            "REST and metrics need starlette, uvicorn and prometheus_client: pip install jaxchat, or turn REST off by "
            "--rest-port none"
        )


def observe(sessions: Sequence[Session], config: ServeConfig) -> SessionObservers:
    """Adds the observers that `config` switches on to all `sessions`. `check_extras` must have passed.

    Only the first session publishes KV events.

    Raises:
        OSError: the address for KV events cannot be used.
    """
    metrics: Metrics | None = None
    tracing: Tracing | None = None
    observers: list[Observer] = [RequestLog()]
    if config.rest_port is not None or config.metrics_port is not None:
        from serving.observability.metrics import Metrics

        observers.append(metrics := Metrics(sessions, config.metrics_prefix))
    if config.otlp_endpoint:
        from serving.observability.tracing import otlp

        observers.append(tracing := otlp(config.otlp_endpoint))
    for session in sessions:
        session.observers.extend(observers)
    return SessionObservers(metrics, tracing, _kv_events(sessions[0], config) if config.kv_events else None)


def _kv_events(session: Session, config: ServeConfig) -> KvEventPublisher:
    """Publishes the changes of the prefix cache from now on. Raises OSError if an address cannot be used."""
    from serving.observability.kv_events import KvEventPublisher

    assert config.kv_events
    topic = config.kv_events_topic or f"kv@{socket.gethostname()}:{config.rest_port or 0}@{session.model_id}"
    publisher = KvEventPublisher(config.kv_events, config.kv_events_replay, topic)
    session.engine.observe_cache(publisher, session.model_id)
    return publisher


def _installed(*modules: str) -> bool:
    try:
        return all(find_spec(module) for module in modules)
    except ModuleNotFoundError:  # the parent package is missing
        return False
