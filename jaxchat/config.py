"""Configuration: frozen, validated, hashable. Nothing here reads the environment.

Field metadata carries the help text from which the command line makes its flags, so a setting is documented once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

DTypeName = Literal["float32", "bfloat16"]
BLOCK = 128  # tokens that attention reduces over at once; pages tile it


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """How many devices share one model. `tensor` splits KV-head groups and the feed-forward width."""

    tensor: int = _setting(1, "devices over which each layer is split (tensor parallel)")

    def __post_init__(self) -> None:
        _at_least("tensor", self.tensor, 1)


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Sizes of the compiled programs and of the KV cache. Every shape is fixed here, before anything compiles."""

    slots: int = _setting(8, "sequences that decode together (S); further requests queue")
    chunk: int = _setting(64, "prompt tokens per prefill step (C), a multiple of the page size")
    page_size: int = _setting(16, "tokens per KV page")
    pages: int = _setting(0, "KV pages in the pool; 0 gives every slot its full context")
    context: int = _setting(0, "longest prompt plus answer in tokens; 0 takes the model's own limit, at most 8192")
    dtype: DTypeName = _setting("float32", "precision of weights and KV pages")
    queue: int = _setting(256, "sequences that may wait for a slot before requests are refused")
    tensor_parallel: int = _setting(1, "devices over which each layer is split")
    cache_dir: str = _setting("", "folder for compiled programs; empty takes the user's cache folder, 'off' none")

    def __post_init__(self) -> None:
        _at_least("slots", self.slots, 1)
        _at_least("page_size", self.page_size, 1)
        _at_least("chunk", self.chunk, 1)
        _at_least("pages", self.pages, 0)
        _at_least("context", self.context, 0)
        _at_least("queue", self.queue, 0)
        _at_least("tensor_parallel", self.tensor_parallel, 1)
        if BLOCK % self.page_size:
            raise ValueError(f"page_size must divide {BLOCK}, got {self.page_size}")
        if self.chunk % self.page_size:
            raise ValueError(f"chunk must be a multiple of page_size {self.page_size}, got {self.chunk}")

    @property
    def mesh(self) -> MeshConfig:
        return MeshConfig(tensor=self.tensor_parallel)


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Addresses and limits of the two front doors."""

    host: str = _setting("127.0.0.1", "address to listen on")
    grpc_port: int = _setting(50051, "gRPC port; 0 picks a free one, -1 turns gRPC off")
    rest_port: int = _setting(8000, "REST port; 0 picks a free one, -1 turns REST off")
    grace: float = _setting(30.0, "seconds that running answers may take to finish after SIGTERM or Ctrl-C")
    max_body: int = _setting(8 * 1024 * 1024, "largest request in bytes")
    greeting: str = _setting("Hello! Who are you?", "asked once when ready, to show that all works; empty asks nothing")
    allow_unknown_fields: bool = _setting(False, "accept and drop unknown JSON fields instead of refusing them")

    def __post_init__(self) -> None:
        for name in ("grpc_port", "rest_port"):
            port = getattr(self, name)
            if not -1 <= port <= 65535:
                raise ValueError(f"{name} must be from -1 to 65535, got {port}")
        if self.grace < 0:
            raise ValueError(f"grace must be at least 0 seconds, got {self.grace}")
        _at_least("max_body", self.max_body, 1024)


def _at_least(name: str, value: int, bound: int) -> None:
    if value < bound:
        raise ValueError(f"{name} must be at least {bound}, got {value}")
