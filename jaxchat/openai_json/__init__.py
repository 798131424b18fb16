"""Converts OpenAI JSON to protobuf and back. Checks the types of JSON values.

`jaxchat.chat.request.validate` checks bounds.
"""

from jaxchat.openai_json.request import ParsedRequest, request_from_json, request_from_kwargs
from jaxchat.openai_json.response import (
    answer_to_json,
    chunk_to_json,
    completion_to_json,
    error_to_json,
    model_to_json,
)

__all__ = [
    "ParsedRequest",
    "answer_to_json",
    "chunk_to_json",
    "completion_to_json",
    "error_to_json",
    "model_to_json",
    "request_from_json",
    "request_from_kwargs",
]
