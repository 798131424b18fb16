"""The protocol: generated messages (`from jaxchat import v1; v1.ChatCompletionRequest(...)`). Never edit `*_pb2*`."""

from jaxchat.v1.chat_pb2 import *  # noqa: F403
from jaxchat.v1.service_pb2 import (
    PROMPT_WRITER_NONE,
    PROMPT_WRITER_SERVER,
    PROMPT_WRITER_TEMPLATE,
    ChatTemplate,
    GetModelRequest,
    ListModelsRequest,
    ListModelsResponse,
    Model,
    PromptWriter,
)
from jaxchat.v1.text_pb2 import *  # noqa: F403

__all__ = [
    "PROMPT_WRITER_NONE",
    "PROMPT_WRITER_SERVER",
    "PROMPT_WRITER_TEMPLATE",
    "ChatTemplate",
    "GetModelRequest",
    "ListModelsRequest",
    "ListModelsResponse",
    "Model",
    "PromptWriter",
]
