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
NamedFinish = Literal["tool_calls", "stop"]
BLOCK = 128  # tokens that attention reduces over at once; pages tile it


def setting(default: Any, text: str) -> Any:
    """Declares a field of a configuration with the help text of its flag."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """How many devices share the work. `tensor` splits KV-head groups and the feed-forward width.

    With `experts`, each device has whole experts in place of a part of every one.
    """

    tensor: int = setting(1, "devices over which each layer is split (tensor parallel)")
    data: int = setting(1, "copies of the model, each over that many devices (data parallel)")
    experts: bool = setting(False, "whether each device has whole experts (expert parallel)")

    def __post_init__(self) -> None:
        at_least("tensor", self.tensor, 1)
        at_least("data", self.data, 1)


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Sizes of the compiled programs and of the KV cache. Every shape is fixed here, before anything compiles."""

    slots: int = setting(8, "sequences that decode together (S); further requests queue")
    chunk: int = setting(
        32, "prompt tokens of the smallest prefill step (C), a multiple of the page size; prompts share whole chunks"
    )
    prefill_buckets: tuple[int, ...] = setting(
        (), "sizes of larger prefill steps, multiples of chunk; none given takes those of 64 and 256 tokens that are"
    )
    decode_buckets: tuple[int, ...] = setting(
        (), "row counts of smaller decode programs for few sequences; none given takes powers of two"
    )
    determinism: Determinism = setting(
        "exact",
        "exact uses only the programs whose bits agree, so that load changes no answer; fast uses all of them",
    )
    quantize: Quantize = setting(
        "none",
        "int8 rounds weights to 8 bits for each output and activations for each token: faster, and less exact",
    )
    products: Products = setting(
        "native",
        "on a CPU, native multiplies by kernels in C++, built at the first start where there is a compiler; "
        "xla never does",
    )
    page_size: int = setting(16, "tokens per KV page")
    pages: int = setting(
        0,
        "KV pages in the pool; 0 gives every slot its full context; with fewer, answers may wait in host memory",
    )
    context: int = setting(0, "longest prompt plus answer in tokens; 0 takes the model's own limit, at most 8192")
    dtype: DTypeName = setting("float32", "precision of weights and KV pages")
    logprobs: LogprobsMode = setting(
        "raw", "reported log-probabilities: of the model's own logits, or of the distribution that was sampled from"
    )
    attention: str = setting(
        "auto",
        "auto takes the platform's own attention kernels where the model fits them; xla takes them nowhere; or the "
        "name of a registered backend",
    )
    logits_processors: tuple[str, ...] = setting(
        (), "names of registered logits processors, applied in that order to every token"
    )
    queue: int = setting(256, "sequences that may wait for a slot before requests are refused")
    tensor_parallel: int = setting(1, "devices over which each layer is split")
    data_parallel: int = setting(
        1, "copies of the model, each on other devices and with slots and pages of its own; requests are dealt out"
    )
    expert_parallel: bool = setting(
        False, "gives each device whole experts in place of a part of every one, where their number divides"
    )
    cache_dir: str = setting(
        "",
        "folder for compiled programs and kernels; empty takes $XDG_CACHE_HOME/jaxchat/compiled, or "
        "~/.cache/jaxchat/compiled where that is not set; 'off' keeps none",
    )

    def __post_init__(self) -> None:
        at_least("slots", self.slots, 1)
        at_least("page_size", self.page_size, 1)
        at_least("chunk", self.chunk, 1)
        at_least("pages", self.pages, 0)
        at_least("context", self.context, 0)
        at_least("queue", self.queue, 0)
        at_least("tensor_parallel", self.tensor_parallel, 1)
        at_least("data_parallel", self.data_parallel, 1)
        for rows in self.decode_buckets:
            at_least("decode_buckets", rows, 1)
        if BLOCK % self.page_size:
            raise ValueError(f"page_size must divide {BLOCK}, got {self.page_size}")
        if self.chunk % self.page_size:
            raise ValueError(f"chunk must be a multiple of page_size {self.page_size}, got {self.chunk}")

        for size in self.prefill_buckets:
            at_least("prefill_buckets", size, self.chunk)
            if size % self.chunk:
                raise ValueError(f"prefill_buckets must be multiples of chunk {self.chunk}, got {size}")

    @property
    def mesh(self) -> MeshConfig:
        return MeshConfig(tensor=self.tensor_parallel, data=self.data_parallel, experts=self.expert_parallel)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Sizes of the prefill steps, rising, the first one C."""
        larger = self.prefill_buckets or (size for size in (64, 256) if size > self.chunk and size % self.chunk == 0)
        return tuple(sorted({self.chunk, *larger}))

    @property
    def decode_sizes(self) -> tuple[int, ...]:
        """Row counts of the decode programs, rising, the last one S."""
        wanted = self.decode_buckets or (2**power for power in range(1, self.slots.bit_length()))
        return *sorted({rows for rows in wanted if rows < self.slots}), self.slots


@dataclass(frozen=True, kw_only=True)
class ChatConfig:
    """Limits of one chat request."""

    request_timeout: float = setting(0.0, "longest time that a request may take, waiting included; 0 sets no limit")
    max_buffered_bytes: int = setting(64 * 1024 * 1024, "bytes of one answer that may wait for their reader")
    named_tool_finish_reason: NamedFinish = setting(
        "tool_calls", "finish_reason of an answer whose tool_choice names a function"
    )
    tool_format: str = setting(
        "auto",
        "how the model writes tool calls: hermes, llama3, mistral, harmony or a registered format; auto recognises it "
        "by the model's chat template",
    )
    reasoning_format: str = setting(
        "auto",
        "how the model marks thoughts, which are left out: harmony or a registered format; auto recognises it by the "
        "model's chat template, none leaves all text in",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.request_timeout < float("inf"):
            raise ValueError(f"max_seconds must be a finite number of seconds from 0, got {self.request_timeout}")
        at_least("max_buffered_bytes", self.max_buffered_bytes, 1024)


def at_least(name: str, value: int, bound: int) -> None:
    """Raises ValueError naming the setting unless `value` is at least `bound`."""
    if value < bound:
        raise ValueError(f"{name} must be at least {bound}, got {value}")
