"""Settings of the servers: frozen, validated. Nothing here reads the environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxchat.config import at_least, setting

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]


@dataclass(frozen=True, kw_only=True)
class RestConfig:
    """The REST front door, and what every front door shares."""

    host: str = setting("127.0.0.1", "address to listen on")
    rest_port: int = setting(8000, "REST port; 0 picks a free one, -1 turns REST off")
    shutdown_grace: float = setting(30.0, "seconds that running answers may take to finish after SIGTERM or Ctrl-C")
    max_body: int = setting(8 * 1024 * 1024, "largest request in bytes")
    allow_unknown_fields: bool = setting(False, "accept and drop unknown JSON fields instead of refusing them")
    api_keys: str = setting("", "file with the API keys that clients may use, see `jaxchat keys`; empty asks for none")
    tls_cert: str = setting("", "PEM file of the certificate and its chain; with tls_key it switches TLS on")
    tls_key: str = setting("", "PEM file of the certificate's private key, unencrypted")

    def __post_init__(self) -> None:
        _port("rest_port", self.rest_port)
        if not 0 <= self.shutdown_grace < float("inf"):
            raise ValueError(f"grace must be a finite number of seconds from 0, got {self.shutdown_grace}")
        at_least("max_body", self.max_body, 1024)
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls_cert and tls_key belong together, only one of them was given")


@dataclass(frozen=True, kw_only=True)
class ServeConfig(RestConfig):
    """Addresses and limits of the two front doors, and what they tell their operator."""

    grpc_port: int = setting(50051, "gRPC port; 0 picks a free one, -1 turns gRPC off")
    tls_client_ca: str = setting(
        "", "PEM file of certificate authorities; gRPC clients must then show a certificate of theirs"
    )
    metrics_port: int = setting(
        -1, "port for /metrics, without API keys; 0 picks a free one, -1 serves them on the REST port"
    )
    otlp_endpoint: str = setting(
        "", "OpenTelemetry collector for a span per request, as http://host:4317 (gRPC); empty sends none"
    )
    startup_prompt: str = setting(
        "Hello! Who are you?", "asked once when ready, to show that all works; empty asks nothing"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("grpc_port", "metrics_port"):
            _port(name, getattr(self, name))
        if self.tls_client_ca and not self.tls_cert:
            raise ValueError("tls_client_ca needs tls_cert and tls_key")


@dataclass(frozen=True, kw_only=True)
class MultihostConfig:
    """One of several processes that serve one model together, each with some of the devices. Process 0 leads."""

    processes: int = setting(1, "processes of the pod; all are started by the same command but for --process-id")
    process_id: int = setting(0, "which of them this is; 0 leads: it schedules and listens, the others follow")
    coordinator: str = setting("", "host:port of process 0, where the others find it; keep that port inside")
    distributed_port: int = setting(0, "port of JAX's coordination service at process 0; 0 picks a free one")
    pod_timeout: float = setting(600.0, "seconds in which all processes must arrive, and then be loaded and compiled")
    heartbeat: float = setting(10.0, "seconds after which a process that answers no ping counts as dead")
    step_timeout: float = setting(60.0, "seconds after which a step that has not finished counts as stuck")

    def __post_init__(self) -> None:
        at_least("processes", self.processes, 1)
        if not 0 <= self.process_id < self.processes:
            raise ValueError(f"process_id must be from 0 to {self.processes - 1}, got {self.process_id}")
        host, _, port = self.coordinator.rpartition(":")
        if self.processes > 1 and not (host and port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
            raise ValueError(f"coordinator must be host:port with a port from 1 to 65535, got {self.coordinator!r}")
        if not 0 <= self.distributed_port <= 65535:
            raise ValueError(f"distributed_port must be from 0 to 65535, got {self.distributed_port}")
        for name in ("pod_timeout", "heartbeat", "step_timeout"):
            seconds = getattr(self, name)
            if not 1 <= seconds < float("inf"):
                raise ValueError(f"{name} must be a finite number of seconds from 1, got {seconds}")

    @property
    def host(self) -> str:
        """That of process 0, as the others see it."""
        return self.coordinator.rpartition(":")[0]

    @property
    def port(self) -> int:
        """That of process 0."""
        return int(self.coordinator.rpartition(":")[2])


@dataclass(frozen=True, kw_only=True)
class BackendConfig:
    """The gRPC server behind a REST front door in a process of its own."""

    backend: str = setting("127.0.0.1:50051", "host:port of the gRPC server that answers")
    backend_tls: bool = setting(False, "connect by TLS; the other backend settings imply it")
    backend_ca: str = setting("", "PEM file of the authorities that the server's certificate must come from")
    backend_cert: str = setting("", "PEM file of the certificate to show to the server (mutual TLS)")
    backend_key: str = setting("", "PEM file of that certificate's private key")

    def __post_init__(self) -> None:
        if bool(self.backend_cert) != bool(self.backend_key):
            raise ValueError("backend_cert and backend_key belong together, only one of them was given")

    @property
    def secure(self) -> bool:
        """Whether to connect by TLS."""
        return bool(self.backend_tls or self.backend_ca or self.backend_cert)


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """The process's log, on standard error."""

    log_level: LogLevel = setting("warning", "least level that is logged; info has a line for each finished request")
    log_format: LogFormat = setting("text", "text for people, json for log collectors: one object a line")


def _port(name: str, port: int) -> None:
    if not -1 <= port <= 65535:
        raise ValueError(f"{name} must be from -1 to 65535, got {port}")
