"""The fields of a Responses request: a table from key to the function that puts the key's value into a draft."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jaxchat import v1
from jaxchat.errors import invalid, safe_repr
from jaxchat.openai_json import puts, readers
from jaxchat.openai_json.puts import Put, Table
from jaxchat.openai_json.request import REQUEST
from jaxchat.openai_responses import settings
from jaxchat.openai_responses.conversation import Conversation
from jaxchat.openai_responses.functions import Functions
from jaxchat.openai_responses.items import add_input

SHARED = (
    "model",
    "temperature",
    "top_p",
    "user",
    "service_tier",
    "store",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "exact_logprobs",
    "stop",
    "top_k",
    "min_p",
    "repetition_penalty",
    "min_tokens",
    "ignore_eos",
    "stop_token_ids",
    "return_token_ids",
    "structured_outputs",
    "chat_template_kwargs",
    "prediction",
)
"""Fields that chat requests also have, with the same name and the same values."""
LATER_FIELDS = frozenset(
    {
        "access_programs",
        "background_options",
        "context_management",
        "image",
        "moderation",
        "prompt",
        "prompt_cache_options",
    }
)
"""Fields of the API that are rejected as unsupported, not as unknown."""
STATELESS = "this server stores no responses. Send the items of the earlier turns in 'input'."


@dataclass
class Draft:
    """The parts of a request while it is read."""

    request: v1.ChatCompletionRequest = field(default_factory=v1.ChatCompletionRequest)
    conversation: Conversation = field(default_factory=Conversation)
    functions: Functions = field(default_factory=Functions)
    instructions: str = ""
    include: frozenset[str] = frozenset()
    tool_choice: Any = None
    safety_identifier: str | None = None


def _shared(put: Put, name: str) -> Put:
    """Returns a `Put` for a field whose value becomes the field `name` of the chat request."""

    def shared(draft: Draft, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        put(draft.request, name, value, path, allow_unknown)

    return shared


def _put_input(draft: Draft, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    add_input(draft.conversation, value, path, allow_unknown)


def _put_tools(draft: Draft, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    draft.functions.read(value, path, allow_unknown)


def _put_include(draft: Draft, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    draft.include = settings.read_include(value, path, allow_unknown)


def _put_anything(draft: Draft, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    setattr(draft, key, value)


def _put_text(draft: Draft, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    setattr(draft, key, readers.string(value, path))


def _stateless(draft: Draft, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    raise invalid(path, f"{STATELESS} Got {safe_repr(value)}.")


def is_stateless(key: str) -> bool:
    """Returns whether a key refers to something stored, so that requests with it are rejected."""
    return TABLE.get(key) is _stateless


TABLE: Table = {
    **{name: _shared(REQUEST[name], name) for name in SHARED},
    "input": _put_input,
    "instructions": _put_text,
    "tools": _put_tools,
    "tool_choice": _put_anything,
    "parallel_tool_calls": _shared(REQUEST["parallel_tool_calls"], "parallel_tool_calls"),
    "text": _shared(settings.put_text, "text"),
    "reasoning": _shared(settings.put_reasoning, "reasoning"),
    "max_output_tokens": _shared(REQUEST["max_completion_tokens"], "max_completion_tokens"),
    "top_logprobs": _shared(REQUEST["top_logprobs"], "top_logprobs"),
    "include": _put_include,
    "metadata": settings.check_metadata,
    "safety_identifier": _put_text,
    "prompt_cache_key": puts.echo(readers.string),
    "client_metadata": puts.echo(readers.mapping),
    "max_tool_calls": settings.check_max_tool_calls,
    "prompt_cache_retention": puts.only("in_memory"),
    "background": puts.only(False),
    "truncation": puts.only("disabled"),
    "stream_options": settings.check_stream_options,
    "previous_response_id": _stateless,
    "conversation": _stateless,
}
