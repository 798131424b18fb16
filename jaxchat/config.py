"""Configuration: frozen, validated, hashable. Nothing here reads the environment.

Field metadata carries the help text from which the command line makes its flags, so a setting is documented once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

DTypeName = Literal["float32", "bfloat16"]
LogprobsMode = Literal["raw", "processed"]
Quantize = Literal["none", "int8"]
Products = Literal["native", "xla"]
Determinism = Literal["exact", "fast"]
AttentionName = Literal["auto", "plain"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]
NamedFinish = Literal["tool_calls", "stop"]
ToolSyntaxName = Literal["auto", "hermes", "llama3", "mistral", "harmony"]
BLOCK = 128  # tokens that attention reduces over at once; pages tile it


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """How many devices share the work. `tensor` splits KV-head groups and the feed-forward width.

    With `experts`, each device has whole experts in place of a part of every one.
    """

    tensor: int = _setting(1, "devices over which each layer is split (tensor parallel)")
    data: int = _setting(1, "copies of the model, each over that many devices (data parallel)")
    experts: bool = _setting(False, "whether each device has whole experts (expert parallel)")

    def __post_init__(self) -> None:
        _at_least("tensor", self.tensor, 1)
        _at_least("data", self.data, 1)


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Sizes of the compiled programs and of the KV cache. Every shape is fixed here, before anything compiles."""

    slots: int = _setting(8, "sequences that decode together (S); further requests queue")
    chunk: int = _setting(
        32, "prompt tokens of the smallest prefill step (C), a multiple of the page size; prompts share whole chunks"
    )
    prefill_chunks: tuple[int, ...] = _setting(
        (), "sizes of larger prefill steps, multiples of chunk; none given takes those of 64 and 256 tokens that are"
    )
    decode_shapes: tuple[int, ...] = _setting(
        (), "row counts of smaller decode programs for few sequences; none given takes powers of two"
    )
    determinism: Determinism = _setting(
        "exact",
        "exact uses only the programs whose bits agree, so that load changes no answer; fast uses all of them",
    )
    quantize: Quantize = _setting(
        "none",
        "int8 rounds weights to 8 bits for each output and activations for each token: faster, and less exact",
    )
    products: Products = _setting(
        "native",
        "on a CPU, native multiplies by kernels in C++, built at the first start where there is a compiler; "
        "xla never does",
    )
    page_size: int = _setting(16, "tokens per KV page")
    pages: int = _setting(
        0,
        "KV pages in the pool; 0 gives every slot its full context; with fewer, answers may wait in host memory",
    )
    context: int = _setting(0, "longest prompt plus answer in tokens; 0 takes the model's own limit, at most 8192")
    dtype: DTypeName = _setting("float32", "precision of weights and KV pages")
    logprobs: LogprobsMode = _setting(
        "raw", "reported log-probabilities: of the model's own logits, or of the distribution that was sampled from"
    )
    attention: AttentionName = _setting(
        "auto", "auto takes the platform's own attention kernels where the model fits them; plain takes them nowhere"
    )
    queue: int = _setting(256, "sequences that may wait for a slot before requests are refused")
    tensor_parallel: int = _setting(1, "devices over which each layer is split")
    data_parallel: int = _setting(
        1, "copies of the model, each on other devices and with slots and pages of its own; requests are dealt out"
    )
    expert_parallel: bool = _setting(
        False, "gives each device whole experts in place of a part of every one, where their number divides"
    )
    cache_dir: str = _setting(
        "",
        "folder for compiled programs and kernels; empty takes $XDG_CACHE_HOME/jaxchat/compiled, or "
        "~/.cache/jaxchat/compiled where that is not set; 'off' keeps none",
    )

    def __post_init__(self) -> None:
        _at_least("slots", self.slots, 1)
        _at_least("page_size", self.page_size, 1)
        _at_least("chunk", self.chunk, 1)
        _at_least("pages", self.pages, 0)
        _at_least("context", self.context, 0)
        _at_least("queue", self.queue, 0)
        _at_least("tensor_parallel", self.tensor_parallel, 1)
        _at_least("data_parallel", self.data_parallel, 1)
        for rows in self.decode_shapes:
            _at_least("decode_shapes", rows, 1)
        if BLOCK % self.page_size:
            raise ValueError(f"page_size must divide {BLOCK}, got {self.page_size}")
        if self.chunk % self.page_size:
            raise ValueError(f"chunk must be a multiple of page_size {self.page_size}, got {self.chunk}")

        for size in self.prefill_chunks:
            _at_least("prefill_chunks", size, self.chunk)
            if size % self.chunk:
                raise ValueError(f"prefill_chunks must be multiples of chunk {self.chunk}, got {size}")

    @property
    def mesh(self) -> MeshConfig:
        return MeshConfig(tensor=self.tensor_parallel, data=self.data_parallel, experts=self.expert_parallel)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Sizes of the prefill steps, rising, the first one C."""
        larger = self.prefill_chunks or (size for size in (64, 256) if size > self.chunk and size % self.chunk == 0)
        return tuple(sorted({self.chunk, *larger}))

    @property
    def ladder(self) -> tuple[int, ...]:
        """Row counts of the decode programs, rising, the last one S."""
        wanted = self.decode_shapes or (2**power for power in range(1, self.slots.bit_length()))
        return *sorted({rows for rows in wanted if rows < self.slots}), self.slots


@dataclass(frozen=True, kw_only=True)
class ChatConfig:
    """Limits of one chat request."""

    max_seconds: float = _setting(0.0, "longest time that a request may take, waiting included; 0 sets no limit")
    max_held: int = _setting(64 * 1024 * 1024, "bytes of one answer that may wait for their reader")
    named_tool_finish_reason: NamedFinish = _setting(
        "tool_calls", "finish_reason of an answer whose tool_choice names a function"
    )
    tool_syntax: ToolSyntaxName = _setting(
        "auto", "how the model writes tool calls; auto recognises it by the model's chat template"
    )

    def __post_init__(self) -> None:
        if not 0 <= self.max_seconds < float("inf"):
            raise ValueError(f"max_seconds must be a finite number of seconds from 0, got {self.max_seconds}")
        _at_least("max_held", self.max_held, 1024)


@dataclass(frozen=True, kw_only=True)
class RestConfig:
    """The REST front door, and what every front door shares."""

    host: str = _setting("127.0.0.1", "address to listen on")
    rest_port: int = _setting(8000, "REST port; 0 picks a free one, -1 turns REST off")
    grace: float = _setting(30.0, "seconds that running answers may take to finish after SIGTERM or Ctrl-C")
    max_body: int = _setting(8 * 1024 * 1024, "largest request in bytes")
    allow_unknown_fields: bool = _setting(False, "accept and drop unknown JSON fields instead of refusing them")
    api_keys: str = _setting("", "file with the API keys that clients may use, see `jaxchat keys`; empty asks for none")
    tls_cert: str = _setting("", "PEM file of the certificate and its chain; with tls_key it switches TLS on")
    tls_key: str = _setting("", "PEM file of the certificate's private key, unencrypted")

    def __post_init__(self) -> None:
        _port("rest_port", self.rest_port)
        if not 0 <= self.grace < float("inf"):
            raise ValueError(f"grace must be a finite number of seconds from 0, got {self.grace}")
        _at_least("max_body", self.max_body, 1024)
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls_cert and tls_key belong together, only one of them was given")


@dataclass(frozen=True, kw_only=True)
class ServeConfig(RestConfig):
    """Addresses and limits of the two front doors, and what they tell their operator."""

    grpc_port: int = _setting(50051, "gRPC port; 0 picks a free one, -1 turns gRPC off")
    tls_client_ca: str = _setting(
        "", "PEM file of certificate authorities; gRPC clients must then show a certificate of theirs"
    )
    metrics_port: int = _setting(
        -1, "port for /metrics, without API keys; 0 picks a free one, -1 serves them on the REST port"
    )
    otlp_endpoint: str = _setting(
        "", "OpenTelemetry collector for a span per request, as http://host:4317 (gRPC); empty sends none"
    )
    greeting: str = _setting("Hello! Who are you?", "asked once when ready, to show that all works; empty asks nothing")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("grpc_port", "metrics_port"):
            _port(name, getattr(self, name))
        if self.tls_client_ca and not self.tls_cert:
            raise ValueError("tls_client_ca needs tls_cert and tls_key")


@dataclass(frozen=True, kw_only=True)
class PodConfig:
    """One of several processes that serve one model together, each with some of the devices. Process 0 leads."""

    processes: int = _setting(1, "processes of the pod; all are started by the same command but for --process-id")
    process_id: int = _setting(0, "which of them this is; 0 leads: it schedules and listens, the others follow")
    coordinator: str = _setting("", "host:port of process 0, where the others find it; keep that port inside")
    distributed_port: int = _setting(0, "port of JAX's coordination service at process 0; 0 picks a free one")
    pod_timeout: float = _setting(600.0, "seconds in which all processes must arrive, and then be loaded and compiled")
    heartbeat: float = _setting(10.0, "seconds after which a process that answers no ping counts as dead")
    step_timeout: float = _setting(60.0, "seconds after which a step that has not finished counts as stuck")

    def __post_init__(self) -> None:
        _at_least("processes", self.processes, 1)
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

    backend: str = _setting("127.0.0.1:50051", "host:port of the gRPC server that answers")
    backend_tls: bool = _setting(False, "connect by TLS; the other backend settings imply it")
    backend_ca: str = _setting("", "PEM file of the authorities that the server's certificate must come from")
    backend_cert: str = _setting("", "PEM file of the certificate to show to the server (mutual TLS)")
    backend_key: str = _setting("", "PEM file of that certificate's private key")

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

    log_level: LogLevel = _setting("warning", "least level that is logged; info has a line for each finished request")
    log_format: LogFormat = _setting("text", "text for people, json for log collectors: one object a line")


def _port(name: str, port: int) -> None:
    if not -1 <= port <= 65535:
        raise ValueError(f"{name} must be from -1 to 65535, got {port}")


def _at_least(name: str, value: int, bound: int) -> None:
    if value < bound:
        raise ValueError(f"{name} must be at least {bound}, got {value}")
