"""Converts capabilities to JSON. Adds the keys that only JSON requests have."""

from __future__ import annotations

from collections.abc import Mapping

from jaxchat import v1
from jaxchat.openai_json.puts import Only, Table
from jaxchat.openai_json.request import LATER_FIELDS, REQUEST
from jaxchat.openai_json.response import Json
from jaxchat.openai_json.text import DETOKENIZE, TEXT_REQUEST, TOKENIZE

_LATER = "This server does not support it."
_CHAT, _TOKENIZE = "ChatCompletionRequest", "TokenizeRequest"
_STREAMED = (_CHAT, "TextCompletionRequest")
ENDPOINTS: Mapping[str, tuple[str, Table, frozenset[str]]] = {
    _CHAT: ("/v1/chat/completions", REQUEST, LATER_FIELDS),
    "TextCompletionRequest": ("/v1/completions", TEXT_REQUEST, frozenset()),
    _TOKENIZE: ("/tokenize", TOKENIZE, frozenset()),
    "DetokenizeRequest": ("/detokenize", DETOKENIZE, frozenset()),
}
"""The path of each request, the keys that it may have, and keys that are rejected as unsupported."""


def capabilities_to_json(capabilities: v1.Capabilities) -> Json:
    """Returns the object that says, for each key of each endpoint, whether it is applied, or why it is rejected."""
    chat = next((request for request in capabilities.requests if request.name == _CHAT), v1.RequestCapabilities())
    return {
        "object": "capabilities",
        "model": capabilities.model,
        "endpoints": {
            ENDPOINTS[request.name][0]: {"fields": _fields(request, chat)}
            for request in capabilities.requests
            if request.name in ENDPOINTS
        },
        "tool_format": capabilities.tool_format,
        "tool_formats": list(capabilities.tool_formats),
        "reasoning_format": capabilities.reasoning_format,
        "reasoning_formats": list(capabilities.reasoning_formats),
        "quantization_forms": list(capabilities.quantization_forms),
        "limits": {limit.name: limit.value for limit in capabilities.limits},
    }


def _fields(request: v1.RequestCapabilities, chat: v1.RequestCapabilities) -> Json:
    """Returns the description of each key of a request.

    The template variables of a tokenize request are described as in a chat request.
    """
    _, table, later = ENDPOINTS[request.name]
    described = {field.name: _field(field) for field in request.fields}
    if request.name == _TOKENIZE:
        described |= {field.name: _field(field) for field in chat.fields if field.name == "chat_template_kwargs"}
    fields: Json = {"stream": {"applied": True}} if request.name in _STREAMED else {}
    for key, put in table.items():
        fields[key] = described.get(key, {"applied": True})
        if isinstance(put, Only):
            fields[key] = {"applied": True, "values": list(put.served)}
    return fields | {key: {"applied": False, "reason": _LATER} for key in sorted(later)}


def _field(field: v1.FieldCapability) -> Json:
    result: Json = {"applied": field.applied}
    for key in ("reason", "minimum", "maximum"):
        if field.HasField(key):
            result[key] = getattr(field, key)
    return result | ({"values": list(field.values)} if field.values else {})
