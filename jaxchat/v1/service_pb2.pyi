from jaxchat.v1 import chat_pb2 as _chat_pb2
from jaxchat.v1 import text_pb2 as _text_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PromptWriter(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROMPT_WRITER_UNSPECIFIED: _ClassVar[PromptWriter]
    PROMPT_WRITER_TEMPLATE: _ClassVar[PromptWriter]
    PROMPT_WRITER_SERVER: _ClassVar[PromptWriter]
    PROMPT_WRITER_NONE: _ClassVar[PromptWriter]
PROMPT_WRITER_UNSPECIFIED: PromptWriter
PROMPT_WRITER_TEMPLATE: PromptWriter
PROMPT_WRITER_SERVER: PromptWriter
PROMPT_WRITER_NONE: PromptWriter

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("id", "created", "owned_by", "chat_template")
    ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    OWNED_BY_FIELD_NUMBER: _ClassVar[int]
    CHAT_TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    id: str
    created: int
    owned_by: str
    chat_template: ChatTemplate
    def __init__(self, id: _Optional[str] = ..., created: _Optional[int] = ..., owned_by: _Optional[str] = ..., chat_template: _Optional[_Union[ChatTemplate, _Mapping]] = ...) -> None: ...

class ChatTemplate(_message.Message):
    __slots__ = ("tool_format", "tools", "calls", "results", "system")
    TOOL_FORMAT_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_FIELD_NUMBER: _ClassVar[int]
    tool_format: str
    tools: PromptWriter
    calls: PromptWriter
    results: PromptWriter
    system: PromptWriter
    def __init__(self, tool_format: _Optional[str] = ..., tools: _Optional[_Union[PromptWriter, str]] = ..., calls: _Optional[_Union[PromptWriter, str]] = ..., results: _Optional[_Union[PromptWriter, str]] = ..., system: _Optional[_Union[PromptWriter, str]] = ...) -> None: ...
