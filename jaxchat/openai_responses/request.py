"""Builds a chat request from the JSON of a Responses request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxchat import v1
from jaxchat.errors import invalid, missing, safe_repr
from jaxchat.openai_json import puts, readers
from jaxchat.openai_json.puts import Put, Table
from jaxchat.openai_json.request import REQUEST
from jaxchat.openai_responses import settings
from jaxchat.openai_responses.conversation import Conversation
from jaxchat.openai_responses.echo import request_echo
from jaxchat.openai_responses.field_names import FieldNames
from jaxchat.openai_responses.functions import Functions
from jaxchat.openai_responses.items import add_input

Json = dict[str, Any]

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
"""Fields that a chat request has under the same name, with the same values."""
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
"""Fields of the API that errors call unsupported instead of unknown."""
STATELESS = "this server stores no responses. Send the items of the earlier turns in 'input'."


@dataclass(frozen=True)
class ResponsesRequest:
    """A Responses request as a chat request, with what its answer needs.

    Attributes:
        request: the chat request. It asks for the usage if the answer is streamed.
        stream: whether the answer is streamed.
        encrypted: whether reasoning items have `encrypted_content`.
        echo: the settings that the response repeats.
        namespaces: namespace and name of functions in namespaces, by the name that the model sees.
        names: the names of the request's fields, for errors about the chat request.
    """

    request: v1.ChatCompletionRequest
    stream: bool
    encrypted: bool
    echo: Json
    namespaces: Mapping[str, tuple[str, str]]
    names: FieldNames


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


def responses_request_from_json(body: Mapping[str, Any], *, allow_unknown: bool = False) -> ResponsesRequest:
    """Reads the Responses request in a parsed JSON body.

    Checks types, and what a chat request could not express. `jaxchat.chat.request.validate` checks the rest.

    A key whose value is `null` is the same as absent.

    Args:
        body: the parsed body.
        allow_unknown: whether to ignore unknown keys, fields of the API that are not served, and hosted tools.

    Raises:
        ChatError: 400. `param` is the dotted path of the field.
    """
    body = dict(readers.mapping(body, "body"))
    stream = body.pop("stream", None)
    stream = stream is not None and readers.boolean(stream, "stream")
    draft = Draft()
    puts.fill(draft, body, "", TABLE, LATER_FIELDS, allow_unknown)
    if body.get("input") is None:
        raise missing("input")
    if body.get("stream_options") is not None and not stream:
        raise invalid("stream_options", "only allowed when stream is true.")
    draft.conversation.close(draft.instructions)
    _check_logprobs(draft, body)
    _check_rules(draft, body)
    _set_tools(draft, body, allow_unknown)
    _set_user(draft, body)
    draft.request.messages.extend(draft.conversation.messages)
    if stream:
        draft.request.stream_options.include_usage = True
    return ResponsesRequest(
        request=draft.request,
        stream=stream,
        encrypted=settings.ENCRYPTED in draft.include,
        echo=request_echo(body, draft.functions.echo),
        namespaces=draft.functions.namespaces,
        names=FieldNames(
            draft.conversation.origins,
            draft.functions.paths,
            "user" if draft.safety_identifier is None else "safety_identifier",
        ),
    )


def _check_logprobs(draft: Draft, body: Mapping[str, Any]) -> None:
    """Asks for log-probabilities if `include` names them. Otherwise rejects the fields that describe them."""
    if settings.LOGPROBS in draft.include:
        draft.request.logprobs = True
        return
    for key in ("top_logprobs", "exact_logprobs"):
        if body.get(key):
            raise invalid(key, f"only allowed when include has '{settings.LOGPROBS}'.")
    draft.request.ClearField("top_logprobs")
    draft.request.ClearField("exact_logprobs")


def _check_rules(draft: Draft, body: Mapping[str, Any]) -> None:
    """Checks rules that the validator would explain with the names of the chat request."""
    plain = draft.request.response_format.type in (v1.RESPONSE_FORMAT_TYPE_UNSPECIFIED, v1.RESPONSE_FORMAT_TYPE_TEXT)
    if draft.request.HasField("structured_outputs") and not plain:
        raise invalid("structured_outputs", "only allowed when text.format is absent or of type 'text'.")


def _set_tools(draft: Draft, body: Mapping[str, Any], allow_unknown: bool) -> None:
    """Sets tools and their choice. Without tools, drops settings that then hold anyway."""
    request, functions = draft.request, draft.functions
    if draft.tool_choice is not None:
        request.tool_choice.CopyFrom(functions.choose(draft.tool_choice, "tool_choice", allow_unknown))
    request.tools.extend(functions.tools)
    if not functions.tools:
        request.ClearField("parallel_tool_calls")
        if request.tool_choice.mode == v1.TOOL_CHOICE_MODE_AUTO:
            request.ClearField("tool_choice")


def _set_user(draft: Draft, body: Mapping[str, Any]) -> None:
    if draft.safety_identifier is None:
        return
    if draft.request.HasField("user"):
        raise invalid("safety_identifier", "user is given too. Give only one of the two.")
    draft.request.user = draft.safety_identifier


# Puts


def _shared(put: Put, name: str) -> Put:
    """Returns a `Put` for a field that the chat request has as `name`."""

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
