"""The settings of a request that the response repeats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

ECHOED: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "temperature": 1.0,
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": 1.0,
    "user": None,
}
"""Settings that a request may have, with their defaults."""
_FORMAT = ("type", "name", "description", "schema", "strict")
_CHOICE = ("type", "name", "mode", "tools")
FIXED: Json = {
    "access_programs": None,
    "background": False,
    "conversation": None,
    "image": None,
    "input_transformations": None,
    "moderation": None,
    "previous_response_id": None,
    "prompt": None,
    "prompt_cache_diagnostics": None,
    "prompt_cache_options": None,
    "prompt_cache_retention": None,
    "service_tier": "default",
    "store": False,
    "tool_usage": None,
    "truncation": "disabled",
}
"""Fields that always have the same value in the responses of this server."""


def request_echo(body: Mapping[str, Any], tools: list[Json]) -> Json:
    """Returns the settings of a valid request. Absent settings get their defaults.

    Args:
        body: the request.
        tools: the tools of the request, as the response shows them.
    """
    text, reasoning = body.get("text") or {}, body.get("reasoning") or {}
    if isinstance(choice := body.get("tool_choice"), dict):
        body = {**body, "tool_choice": {key: choice[key] for key in _CHOICE if key in choice}}
    summary = reasoning.get("summary") or reasoning.get("generate_summary")
    return {
        **FIXED,
        **{key: default if body.get(key) is None else body[key] for key, default in ECHOED.items()},
        "reasoning": {"effort": reasoning.get("effort"), "summary": "auto" if summary else None},
        "text": {"format": _format(text.get("format")), "verbosity": "medium"},
        "tools": tools,
    }


def _format(value: Mapping[str, Any] | None) -> Json:
    """Returns the format of the text without keys that are null or unknown.

    A format of the type `json_schema` always has `description` and `strict`, with a default if absent.
    """
    if value is None:
        return {"type": "text"}
    shown = {key: value[key] for key in _FORMAT if value.get(key) is not None}
    return {"description": None, "strict": False} | shown if value["type"] == "json_schema" else shown
