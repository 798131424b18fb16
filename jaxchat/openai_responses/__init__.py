"""Converts the JSON of OpenAI's Responses API to chat requests, and chat answers back. Nothing is stored."""

from jaxchat.openai_responses.capabilities import responses_fields
from jaxchat.openai_responses.events import ResponseEvents
from jaxchat.openai_responses.request import ResponsesRequest, responses_request_from_json
from jaxchat.openai_responses.response import completion_to_response

__all__ = [
    "ResponseEvents",
    "ResponsesRequest",
    "completion_to_response",
    "responses_fields",
    "responses_request_from_json",
]
