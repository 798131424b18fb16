"""OpenAI JSON to protobuf and back. JSON types and shapes are judged here, bounds by `jaxchat.chat.validate`."""

from jaxchat.chat.wire.answer import chunk_to_json, completion_to_json, error_to_json, model_to_json
from jaxchat.chat.wire.request import ParsedRequest, request_from_json, request_from_kwargs

__all__ = [
    "ParsedRequest",
    "chunk_to_json",
    "completion_to_json",
    "error_to_json",
    "model_to_json",
    "request_from_json",
    "request_from_kwargs",
]
