"""Configuration of the engine and of chat requests: frozen, validated, hashable. Nothing here reads the environment."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from jaxchat.errors import safe_repr
from jaxchat.json_text import parse_json
from jaxchat.settings import Settings, setting

DTypeName = Literal["float32", "bfloat16"]
LogprobsMode = Literal["raw", "processed"]
Quantize = Literal["int8", "int4"]
KVDTypeName = Literal["int8"]
CpuMatmul = Literal["native", "xla"]
Determinism = Literal["exact", "fast"]
NamedFinish = Literal["tool_calls", "stop"]
MAX_DRAFTS = 15  # draft tokens of a sequence in one step
BLOCK = 128  # tokens that attention reduces over at once; pages tile it
MAX_MODEL_NAME = 256  # characters of a name in served_model_name
AUTO = "auto"  # as `cache_dir`: the user's cache folder; as `speculate`: as many drafts as save time


def most_slices(bucket: int) -> int:
    """Returns the maximum number of slices in a prefill step of `bucket` tokens.

    This is `bucket // 8`, but at least 2 and at most 16. Each slice adds about 30 kB to the step's input.
    """
    return min(max(bucket // 8, 2), 16)


@dataclass(frozen=True, kw_only=True)
class MeshConfig(Settings):
    """A split of the work over devices.

    `data` is the number of copies of the model. `tensor` is the number of devices that share one copy. Each of these
    devices has a part of every layer: some of the KV-head groups, and a slice of the feed-forward width. With
    `experts`, each device has whole experts instead of a slice of each expert.
    """

    tensor: int = setting(1, "devices over which each layer is split (tensor parallel)", metavar="N", least=1)
    data: int = setting(1, "copies of the model, each over that many devices (data parallel)", metavar="N", least=1)
    experts: bool = setting(False, "whether each device has whole experts (expert parallel)")


@dataclass(frozen=True, kw_only=True)
class EngineConfig(Settings):
    """Settings of the engine: sizes of programs and KV cache, precision, devices.

    Together with the model and the platform, they determine all array shapes.
    """

    slots: int = setting(8, "sequences that decode together; further requests wait", metavar="N", least=1)
    prefill_chunk: int = setting(
        32,
        "prompt tokens of the smallest prefill step, a multiple of --page-size; prompts share whole chunks",
        metavar="TOKENS",
        least=1,
    )
    prefill_buckets: tuple[int, ...] | None = setting(
        None,
        "sizes of larger prefill steps, multiples of --prefill-chunk; no value: no larger steps",
        metavar="TOKENS",
        default_text="64 and 256, where multiples of the chunk",
        least=1,
    )
    decode_buckets: tuple[int, ...] | None = setting(
        None,
        "batch sizes of smaller decode programs, used while few sequences run; no value: no smaller programs",
        metavar="N",
        default_text="the powers of two below --slots",
        least=1,
    )
    determinism: Determinism = setting(
        "exact",
        "exact runs only programs that compute the same bits, so that load never changes an answer; "
        "fast runs all programs",
    )
    quantize: Quantize | None = setting(
        None,
        "int8 rounds weights to 8 bits for each output, int4 to 4 bits in groups of 32, and those of the vocabulary to "
        "8; on one CPU device also activations, to 8 bits: faster and less accurate; no value: as stored",
    )
    speculate: str = setting(
        AUTO,
        f"most guessed tokens of an answer that one step checks, from 1 to {MAX_DRAFTS}; auto takes as many as save "
        "time, off none; answers stay the same, bit for bit, with --determinism exact",
        metavar="auto|off|N",
    )
    cpu_matmul: CpuMatmul = setting(
        "native",
        "how a CPU multiplies matrices: native uses C++ kernels, compiled at the first start if there is a compiler; "
        "xla uses XLA",
    )
    page_size: int = setting(16, f"tokens in a KV page, a divisor of {BLOCK}", metavar="TOKENS", least=1)
    pages: int | None = setting(
        None,
        "KV pages in the pool; when they run out, running answers are swapped out to host memory",
        metavar="N",
        default_text="enough for --slots sequences of full length",
        least=1,
    )
    max_seq_len: int | None = setting(
        None,
        "longest prompt plus answer",
        metavar="TOKENS",
        default_text="the model's own limit, at most 8192",
        least=1,
    )
    dtype: DTypeName = setting("float32", "precision of weights and KV pages")
    kv_dtype: KVDTypeName | None = setting(
        None,
        "int8 rounds keys and values to 8 bits for each token and head: more tokens fit into memory, less accurate",
        default_text="none, as --dtype",
    )
    logprobs: LogprobsMode = setting(
        "raw",
        "log-probabilities to report: raw are those of the model's logits, "
        "processed those of the distribution that was sampled from",
    )
    attention: str = setting(
        "auto",
        "attention backend: auto takes the platform's own where it supports the model, xla plain JAX; or a registered "
        "name",
        metavar="NAME",
    )
    logits_processors: tuple[str, ...] = setting(
        (), "names of registered logits processors, applied in that order to every token", metavar="NAME"
    )
    max_queued: int = setting(
        256, "sequences that may wait for a slot before requests are refused", metavar="N", least=0
    )
    tensor_parallel: int = setting(1, "devices over which each layer is split", metavar="N", least=1)
    data_parallel: int = setting(
        1,
        "copies of the model, each on its own devices with its own slots and pages; requests are spread over them",
        metavar="N",
        least=1,
    )
    expert_parallel: bool = setting(
        False, "gives each device whole experts instead of a part of each, where their number divides evenly"
    )
    cache_dir: str | None = setting(
        AUTO,
        "folder for compiled programs and kernels; none keeps them only until the process ends",
        metavar="FOLDER",
        default_text="auto: $XDG_CACHE_HOME/jaxchat/compiled or ~/.cache/jaxchat/compiled",
    )

    def validate(self) -> None:
        _ = self.max_drafts  # raises ValueError
        if BLOCK % self.page_size:
            raise ValueError(f"page_size must divide {BLOCK}, got {self.page_size}")
        if self.prefill_chunk % self.page_size:
            raise ValueError(
                f"prefill_chunk must be a multiple of page_size {self.page_size}, got {self.prefill_chunk}"
            )
        for size in self.prefill_buckets or ():
            if size % self.prefill_chunk:
                raise ValueError(f"prefill_buckets must be multiples of prefill_chunk {self.prefill_chunk}, got {size}")

    @property
    def max_drafts(self) -> int:
        """The maximum number of draft tokens of a sequence in one step, 0 for none.

        With determinism "fast", the value "auto" of `speculate` means none, because a draft could change the program
        that computes a token.

        Raises:
            ValueError: `speculate` is none of "auto", "off" and "1" to "15".
        """
        names = {
            AUTO: MAX_DRAFTS if self.determinism == "exact" else 0,
            "off": 0,
            **{str(count): count for count in range(1, MAX_DRAFTS + 1)},
        }
        if self.speculate not in names:
            raise ValueError(f"speculate must be 'auto', 'off' or '1' to '{MAX_DRAFTS}', got {self.speculate!r}")
        return names[self.speculate]

    @property
    def mesh(self) -> MeshConfig:
        """The device settings, as a `MeshConfig`."""
        return MeshConfig(tensor=self.tensor_parallel, data=self.data_parallel, experts=self.expert_parallel)

    @property
    def prefill_sizes(self) -> tuple[int, ...]:
        """The sizes of all prefill programs in tokens, in ascending order; the first is `prefill_chunk`."""
        buckets = self.prefill_buckets
        if buckets is None:
            buckets = tuple(size for size in (64, 256) if size % self.prefill_chunk == 0)
        return tuple(sorted({self.prefill_chunk, *buckets}))

    @property
    def decode_sizes(self) -> tuple[int, ...]:
        """The row counts of all decode programs, in ascending order; the last is `slots`."""
        buckets = self.decode_buckets
        if buckets is None:
            buckets = tuple(2**power for power in range(1, self.slots.bit_length()))
        return *sorted({rows for rows in buckets if rows < self.slots}), self.slots


@dataclass(frozen=True, kw_only=True)
class ChatConfig(Settings):
    """Settings of chat requests: their limits, and how the model writes tool calls and thoughts."""

    served_model_name: tuple[str, ...] = setting(
        (),
        "names that requests may use instead of the model's id; answers have the first, the list of models has all",
        metavar="NAME",
        default_text="its id: the hub id, or the name of the directory or file",
    )
    request_timeout: float | None = setting(
        None,
        "longest time that a request may take, including the time it waits",
        metavar="SECONDS",
        default_text="none, no limit",
    )
    max_buffered_bytes: int = setting(
        64 * 1024 * 1024,
        "bytes of one answer that may be buffered for a slow reader",
        metavar="BYTES",
        least=1024,
    )
    named_tool_finish_reason: NamedFinish = setting(
        "tool_calls", "finish_reason of an answer whose tool_choice names a function"
    )
    tool_format: str = setting(
        "auto",
        "how the model writes tool calls: hermes, llama3, mistral or another registered format; auto recognises it "
        "from the chat template",
        metavar="NAME",
    )
    reasoning_format: str = setting(
        "auto",
        "how the model marks thoughts, which become reasoning_content: think, harmony or another registered format; "
        "auto recognises it from the chat template, none leaves thoughts in the content",
        metavar="NAME",
    )

    template_date: str | None = setting(
        None,
        "day that a chat template gets when it asks for today; part of system_fingerprint for such templates",
        metavar="YYYY-MM-DD",
        default_text="none, the day of each request in UTC",
    )
    chat_template_kwargs: str | None = setting(
        None,
        'values of variables that the chat template reads, such as {"enable_thinking": false}, for requests that set '
        "no others",
        metavar="JSON",
    )

    def validate(self) -> None:
        if self.request_timeout is not None and self.request_timeout <= 0:
            raise ValueError(f"request_timeout must be more than 0 seconds or None, got {self.request_timeout}")
        _check_model_names(self.served_model_name)
        _ = self.fixed_day, self.template_kwargs  # raise ValueError if malformed

    @property
    def fixed_day(self) -> date | None:
        """`template_date` as a date, or None. Raises ValueError if it is not a day in the form YYYY-MM-DD."""
        if self.template_date is None:
            return None
        with suppress(ValueError):
            day = date.fromisoformat(self.template_date)
            if str(day) == self.template_date:  # the library also reads other forms
                return day
        raise ValueError(f"template_date must be a day as YYYY-MM-DD or None, got {self.template_date!r}")

    @property
    def template_kwargs(self) -> dict[str, Any]:
        """`chat_template_kwargs` parsed from JSON; empty for None.

        Raises:
            ValueError: the text is not a JSON object, or an object in it has a key twice.
        """
        try:
            value = parse_json(self.chat_template_kwargs or "{}")
        except ValueError as error:
            raise ValueError(f"chat_template_kwargs must be a JSON object: {error}") from None
        if not isinstance(value, dict):
            raise ValueError(f"chat_template_kwargs must be a JSON object or None, got {safe_repr(value)}")
        return value


def _check_model_names(names: tuple[str, ...]) -> None:
    """Raises ValueError for a name that is blank, too long, not printable or repeated."""
    for name in names:
        if len(name) > MAX_MODEL_NAME or not name.strip() or not name.isprintable():
            allowed = f"1 to {MAX_MODEL_NAME} printable characters"
            raise ValueError(f"each of served_model_name must have {allowed}, got {safe_repr(name)}")
        if names.count(name) > 1:
            raise ValueError(f"served_model_name must have each name once, got {name!r} twice")
