from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FollowRequest(_message.Message):
    __slots__ = ("hello", "ready", "leaving")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    ready: Ready
    leaving: Leaving
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., ready: _Optional[_Union[Ready, _Mapping]] = ..., leaving: _Optional[_Union[Leaving, _Mapping]] = ...) -> None: ...

class FollowResponse(_message.Message):
    __slots__ = ("begin", "agreed", "step", "end", "refused")
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    AGREED_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    begin: Begin
    agreed: Agreed
    step: Step
    end: End
    refused: Refused
    def __init__(self, begin: _Optional[_Union[Begin, _Mapping]] = ..., agreed: _Optional[_Union[Agreed, _Mapping]] = ..., step: _Optional[_Union[Step, _Mapping]] = ..., end: _Optional[_Union[End, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("process_id", "processes", "facts")
    class FactsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    process_id: int
    processes: int
    facts: _containers.ScalarMap[str, str]
    def __init__(self, process_id: _Optional[int] = ..., processes: _Optional[int] = ..., facts: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Ready(_message.Message):
    __slots__ = ("digests",)
    class DigestsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    digests: _containers.ScalarMap[str, str]
    def __init__(self, digests: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Leaving(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Begin(_message.Message):
    __slots__ = ("distributed_port",)
    DISTRIBUTED_PORT_FIELD_NUMBER: _ClassVar[int]
    distributed_port: int
    def __init__(self, distributed_port: _Optional[int] = ...) -> None: ...

class Agreed(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class End(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Refused(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("prefill", "decode", "swap_out", "swap_in", "saved", "forgotten")
    PREFILL_FIELD_NUMBER: _ClassVar[int]
    DECODE_FIELD_NUMBER: _ClassVar[int]
    SWAP_OUT_FIELD_NUMBER: _ClassVar[int]
    SWAP_IN_FIELD_NUMBER: _ClassVar[int]
    SAVED_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    prefill: Prefill
    decode: Decode
    swap_out: SwapOut
    swap_in: SwapIn
    saved: int
    forgotten: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, prefill: _Optional[_Union[Prefill, _Mapping]] = ..., decode: _Optional[_Union[Decode, _Mapping]] = ..., swap_out: _Optional[_Union[SwapOut, _Mapping]] = ..., swap_in: _Optional[_Union[SwapIn, _Mapping]] = ..., saved: _Optional[int] = ..., forgotten: _Optional[_Iterable[int]] = ...) -> None: ...

class Prefill(_message.Message):
    __slots__ = ("slices",)
    SLICES_FIELD_NUMBER: _ClassVar[int]
    slices: _containers.RepeatedCompositeFieldContainer[PrefillSlice]
    def __init__(self, slices: _Optional[_Iterable[_Union[PrefillSlice, _Mapping]]] = ...) -> None: ...

class PrefillSlice(_message.Message):
    __slots__ = ("slot", "tokens", "start", "last", "pages", "choice", "sampling", "token_mask", "prompt")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    PAGES_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    TOKEN_MASK_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    slot: int
    tokens: bytes
    start: int
    last: bool
    pages: bytes
    choice: int
    sampling: Sampling
    token_mask: bytes
    prompt: bytes
    def __init__(self, slot: _Optional[int] = ..., tokens: _Optional[bytes] = ..., start: _Optional[int] = ..., last: _Optional[bool] = ..., pages: _Optional[bytes] = ..., choice: _Optional[int] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ..., token_mask: _Optional[bytes] = ..., prompt: _Optional[bytes] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "logprobs", "bias_ids", "bias", "top_k", "min_p", "repetition_penalty")
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_PENALTY_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_PENALTY_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    BIAS_IDS_FIELD_NUMBER: _ClassVar[int]
    BIAS_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    MIN_P_FIELD_NUMBER: _ClassVar[int]
    REPETITION_PENALTY_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    top_p: float
    frequency_penalty: float
    presence_penalty: float
    seed: int
    logprobs: bool
    bias_ids: _containers.RepeatedScalarFieldContainer[int]
    bias: _containers.RepeatedScalarFieldContainer[float]
    top_k: int
    min_p: float
    repetition_penalty: float
    def __init__(self, temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., frequency_penalty: _Optional[float] = ..., presence_penalty: _Optional[float] = ..., seed: _Optional[int] = ..., logprobs: _Optional[bool] = ..., bias_ids: _Optional[_Iterable[int]] = ..., bias: _Optional[_Iterable[float]] = ..., top_k: _Optional[int] = ..., min_p: _Optional[float] = ..., repetition_penalty: _Optional[float] = ...) -> None: ...

class Decode(_message.Message):
    __slots__ = ("slots", "new_pages", "constrained", "token_mask", "drafts")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    NEW_PAGES_FIELD_NUMBER: _ClassVar[int]
    CONSTRAINED_FIELD_NUMBER: _ClassVar[int]
    TOKEN_MASK_FIELD_NUMBER: _ClassVar[int]
    DRAFTS_FIELD_NUMBER: _ClassVar[int]
    slots: bytes
    new_pages: bytes
    constrained: bytes
    token_mask: bytes
    drafts: bytes
    def __init__(self, slots: _Optional[bytes] = ..., new_pages: _Optional[bytes] = ..., constrained: _Optional[bytes] = ..., token_mask: _Optional[bytes] = ..., drafts: _Optional[bytes] = ...) -> None: ...

class SwapOut(_message.Message):
    __slots__ = ("slot", "pages")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    PAGES_FIELD_NUMBER: _ClassVar[int]
    slot: int
    pages: bytes
    def __init__(self, slot: _Optional[int] = ..., pages: _Optional[bytes] = ...) -> None: ...

class SwapIn(_message.Message):
    __slots__ = ("slot", "pages", "kept")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    PAGES_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    slot: int
    pages: bytes
    kept: int
    def __init__(self, slot: _Optional[int] = ..., pages: _Optional[bytes] = ..., kept: _Optional[int] = ...) -> None: ...
