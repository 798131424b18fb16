"""Converts OpenAI JSON to protobuf and back. Checks the types of JSON values.

`jaxchat.chat.request.validate` checks bounds.
"""

from jaxchat.openai_json.capabilities import capabilities_to_json
from jaxchat.openai_json.request import ParsedRequest, request_from_json, request_from_kwargs
from jaxchat.openai_json.response import (
    answer_to_json,
    chunk_to_json,
    completion_to_json,
    error_to_json,
    model_to_json,
)
from jaxchat.openai_json.text import (
    ParsedText,
    detokenize_from_json,
    text_choice_to_json,
    text_completion_to_json,
    text_logprobs_to_json,
    text_part_to_json,
    text_request_from_json,
    tokenize_from_json,
    tokenized_to_json,
)

__all__ = [
    "ParsedRequest",
    "ParsedText",
    "answer_to_json",
    "capabilities_to_json",
    "chunk_to_json",
    "completion_to_json",
    "detokenize_from_json",
    "error_to_json",
    "model_to_json",
    "request_from_json",
    "request_from_kwargs",
    "text_choice_to_json",
    "text_completion_to_json",
    "text_logprobs_to_json",
    "text_part_to_json",
    "text_request_from_json",
    "tokenize_from_json",
    "tokenized_to_json",
]
