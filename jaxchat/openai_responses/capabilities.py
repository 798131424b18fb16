"""Describes what Responses requests may say, from the table of their fields and the description of chat requests."""

from __future__ import annotations

from collections.abc import Mapping

from jaxchat.openai_json.puts import Only
from jaxchat.openai_json.response import Json
from jaxchat.openai_responses.draft import LATER_FIELDS, SHARED, STATELESS, TABLE, is_stateless

_LATER = "This server does not support it."
_CHAT_NAMES: Mapping[str, str] = {name: name for name in (*SHARED, "tools", "parallel_tool_calls", "top_logprobs")} | {
    "max_output_tokens": "max_completion_tokens"
}
"""The fields that are applied as a field of a chat request is, with the name of that field."""


def responses_fields(chat: Mapping[str, Json]) -> Json:
    """Returns for each key of a Responses request whether it is applied, with its bounds, or why it is rejected.

    Args:
        chat: the same for chat requests, by key.
    """
    fields: Json = {"stream": {"applied": True}}
    for key, put in TABLE.items():
        fields[key] = chat.get(_CHAT_NAMES.get(key, ""), {"applied": True})
        if isinstance(put, Only):
            fields[key] = {"applied": True, "values": list(put.served)}
        elif is_stateless(key):
            fields[key] = {"applied": False, "reason": STATELESS[0].upper() + STATELESS[1:]}
    return fields | {key: {"applied": False, "reason": _LATER} for key in sorted(LATER_FIELDS)}
