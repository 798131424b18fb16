"""Settings of the servers, frozen and validated. Environment variables do not affect them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from jaxchat.client.failover.targets import split_targets
from jaxchat.settings import Settings, setting

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[^/:?#@\[\]\s]+)(:[0-9]{1,5})?", re.IGNORECASE)
_ZMQ_ENDPOINT = re.compile(r"tcp://(\*|\[[0-9a-fA-F:.]+\]|[^:/?#@\[\]\s*]+):([1-9][0-9]{0,4})|ipc://\S+")
_METRICS_PREFIX = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]


def _port(default: int | None, text: str, default_text: str | None = None) -> Any:
    return setting(default, text, metavar="PORT", default_text=default_text, least=0, most=65535)


def _file(text: str) -> Any:
    return setting(None, text, metavar="FILE")


def _seconds(default: float, text: str, least: float) -> Any:
    return setting(default, text, metavar="SECONDS", least=least)


@dataclass(frozen=True, kw_only=True)
class RestConfig(Settings):
    """Settings of the REST server, and settings that all servers share."""

    host: str = setting("127.0.0.1", "address to listen on", metavar="HOST")
    rest_port: int | None = _port(8000, "port for REST; 0 picks a free one, none turns REST off")
    shutdown_grace: float = _seconds(30.0, "time that running answers have to finish after SIGTERM or Ctrl-C", 0)
    max_body: int = setting(8 * 1024 * 1024, "largest request", metavar="BYTES", least=1024)
    allow_unknown_fields: bool = setting(False, "accept unknown JSON fields and ignore them instead of refusing them")
    cors_origin: tuple[str, ...] | None = setting(
        (),
        "origins of web pages that may call the server, as http://host:8080; * allows all, none not even the default",
        metavar="ORIGIN",
        default_text="pages from localhost and from the server's own address, which are always allowed",
    )
    playground: bool = setting(True, "serve the playground, a web page for trying the model, at / of the REST address")
    api_keys: str | None = _file("file with the API keys that clients may use, see `jaxchat keys`; none: no key needed")
    tls_cert: str | None = _file("certificate and its chain in PEM form; with --tls-key it switches TLS on")
    tls_key: str | None = _file("private key of the certificate in PEM form, unencrypted")

    def validate(self) -> None:
        _together(self, "tls_cert", "tls_key")
        for origin in self.cors_origin or ():
            _check_origin(origin)


@dataclass(frozen=True, kw_only=True)
class ServeConfig(RestConfig):
    """Settings of the gRPC and REST servers, of metrics, traces and KV events, and of the startup prompt."""

    grpc_port: int | None = _port(50051, "port for gRPC; 0 picks a free one, none turns gRPC off")
    tls_client_ca: str | None = _file(
        "certificate authorities in PEM form; gRPC clients must then show a certificate signed by one of them"
    )
    metrics_port: int | None = _port(
        None, "port for /metrics, which asks for no API key; 0 picks a free one", "none, /metrics is on the REST port"
    )
    metrics_prefix: str = setting(
        "jaxchat", "what the names of metrics begin with; vllm fits dashboards that were made for vLLM", metavar="NAME"
    )
    otlp_endpoint: str | None = setting(
        None, "OpenTelemetry collector (gRPC) that gets a span per request, as http://host:4317", metavar="URL"
    )
    kv_events: str | None = setting(
        None,
        "ZeroMQ address that tells routers which prefixes are cached, as tcp://*:5557; it shows token ids of prompts",
        metavar="URL",
    )
    kv_events_replay: str | None = setting(
        None, "ZeroMQ address at which routers ask for events that they missed, as tcp://*:5558", metavar="URL"
    )
    kv_events_topic: str | None = setting(
        None, "topic of the events", metavar="TEXT", default_text="kv@, host name and REST port, @, model id"
    )
    startup_prompt: str | None = setting(
        "Hello! Who are you?",
        "prompt that the model answers once when ready, to show that everything works; none asks nothing",
        metavar="TEXT",
    )

    def validate(self) -> None:
        super().validate()
        if self.tls_client_ca and not self.tls_cert:
            raise ValueError("tls_client_ca needs tls_cert and tls_key")
        if not _METRICS_PREFIX.fullmatch(self.metrics_prefix):
            raise ValueError(f"metrics_prefix must be letters, digits and _, got {self.metrics_prefix!r}")
        for name in ("kv_events", "kv_events_replay"):
            _check_zmq_endpoint(name, getattr(self, name))
        if self.kv_events is None and (self.kv_events_replay or self.kv_events_topic):
            raise ValueError("kv_events_replay and kv_events_topic need kv_events")


@dataclass(frozen=True, kw_only=True)
class MultihostConfig(Settings):
    """Settings of one process of a multihost group. Each process has some of the devices. Process 0 is the leader."""

    processes: int = setting(
        1,
        "processes that serve the model; start each by the same command with another --process-id",
        metavar="N",
        least=1,
    )
    process_id: int = setting(
        0, "number of this process; process 0 leads: it schedules and listens, the others follow", metavar="N", least=0
    )
    coordinator: str | None = setting(
        None, "address at which the other processes find process 0; keep that port private", metavar="HOST:PORT"
    )
    distributed_port: int = _port(0, "port of JAX's coordination service at process 0; 0 picks a free one")
    multihost_timeout: float = _seconds(600.0, "time for all processes to join, and then to load and compile", 1)
    heartbeat: float = _seconds(10.0, "time without an answer to a ping after which a process counts as dead", 1)
    step_timeout: float = _seconds(60.0, "time after which an unfinished step counts as stuck", 1)

    def validate(self) -> None:
        if self.process_id >= self.processes:
            raise ValueError(f"process_id must be from 0 to {self.processes - 1}, got {self.process_id}")
        if self.processes > 1 or self.coordinator is not None:
            host, _, port = self.address.rpartition(":")
            if not (host and port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
                raise ValueError(f"coordinator must be host:port with a port from 1 to 65535, got {self.coordinator!r}")

    @property
    def address(self) -> str:
        """The address of process 0 as `host:port`, or "" for a process that serves alone."""
        return self.coordinator or ""

    @property
    def host(self) -> str:
        """The host of process 0, as the other processes see it."""
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> int:
        """The port of process 0. Raises ValueError if no coordinator is set."""
        return int(self.address.rpartition(":")[2])


@dataclass(frozen=True, kw_only=True)
class BackendConfig(Settings):
    """Settings of the connections from a REST server to the gRPC servers that answer its requests.

    `backend` may also be one text, in which commas separate several targets.
    """

    backend: tuple[str, ...] = setting(
        ("127.0.0.1:50051",),
        "gRPC servers that answer, replicas of one model: an answer whose server is lost goes on at another one; "
        "dns:///HOST:PORT stands for all addresses of a name",
        metavar="HOST:PORT",
        default_text="127.0.0.1:50051",
    )
    backend_tls: bool = setting(False, "connect by TLS; the other backend settings imply it")
    backend_ca: str | None = _file("certificate authorities in PEM form that the server's certificate must come from")
    backend_cert: str | None = _file("certificate to show to the server in PEM form (mutual TLS)")
    backend_key: str | None = _file("private key of that certificate in PEM form")

    def __post_init__(self) -> None:
        if isinstance(self.backend, str):
            object.__setattr__(self, "backend", (self.backend,))
        super().__post_init__()

    def validate(self) -> None:
        try:
            targets = split_targets(",".join(self.backend))
        except ValueError:
            raise ValueError(f"backend must have at least one HOST:PORT, got {self.backend!r}") from None
        object.__setattr__(self, "backend", targets)
        _together(self, "backend_cert", "backend_key")

    @property
    def secure(self) -> bool:
        """Whether to connect by TLS."""
        return bool(self.backend_tls or self.backend_ca or self.backend_cert)


@dataclass(frozen=True, kw_only=True)
class RestClientConfig(Settings):
    """Settings of the connection from a command to a REST server."""

    api_key_file: str | None = _file("file with the API key for the server")
    ca: str | None = _file("certificate authorities in PEM form that the server's certificate must come from")


@dataclass(frozen=True, kw_only=True)
class BatchConfig(Settings):
    """Settings of a batch of requests."""

    concurrency: int | None = setting(
        None,
        "requests that are open at the same time",
        metavar="N",
        default_text="twice the number of slots, 32 with --url",
        least=1,
    )
    retry_seconds: float = _seconds(
        300.0, "time without any answer, while the server is overloaded or unreachable, after which the batch stops", 0
    )


@dataclass(frozen=True, kw_only=True)
class LogConfig(Settings):
    """Settings of the process's log, which goes to standard error."""

    log_level: LogLevel = setting("warning", "lowest level that is logged; info has a line for each finished request")
    log_format: LogFormat = setting("text", "text is for people, json for log collectors: one object a line")


def _check_origin(origin: str) -> None:
    """Raises ValueError unless `origin` is `*` or an origin as browsers send it.

    Browsers send `scheme://host` or `scheme://host:port`, with any scheme.
    """
    if origin != "*" and not _ORIGIN.fullmatch(origin):
        raise ValueError(f"each of cors_origin must be '*' or an origin such as http://host:8080, got {origin!r}")


def _check_zmq_endpoint(name: str, endpoint: str | None) -> None:
    """Raises ValueError unless `endpoint` is None or an address of ZeroMQ: `tcp://host:port` or `ipc://path`."""
    if endpoint is not None and not _ZMQ_ENDPOINT.fullmatch(endpoint):
        raise ValueError(f"{name} must be an address such as tcp://*:5557, or None, got {endpoint!r}")


def _together(config: Settings, first: str, second: str) -> None:
    """Raises ValueError if only one of two settings is set."""
    if (getattr(config, first) is None) != (getattr(config, second) is None):
        raise ValueError(f"{first} and {second} belong together, only one of them was given")
