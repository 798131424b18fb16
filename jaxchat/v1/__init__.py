"""The protocol: generated messages (`from jaxchat import v1; v1.ChatCompletionRequest(...)`). Never edit `*_pb2*`."""

from jaxchat.v1.chat_pb2 import *  # noqa: F403
from jaxchat.v1.service_pb2 import GetModelRequest, ListModelsRequest, ListModelsResponse, Model

__all__ = ["GetModelRequest", "ListModelsRequest", "ListModelsResponse", "Model"]
