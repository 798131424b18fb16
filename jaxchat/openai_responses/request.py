"""Builds a chat request from the JSON of a Responses request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxchat import v1
from jaxchat.errors import invalid, missing
from jaxchat.openai_json import puts, readers
from jaxchat.openai_responses import settings
from jaxchat.openai_responses.draft import LATER_FIELDS, TABLE, Draft
from jaxchat.openai_responses.echo import request_echo
from jaxchat.openai_responses.field_names import FieldNames

Json = dict[str, Any]


@dataclass(frozen=True)
class ResponsesRequest:
    """A chat request that was made from a Responses request, with the data that the response needs.

    Attributes:
        request: the chat request. It asks for the usage if the answer is streamed.
        stream: whether the answer is streamed.
        encrypted: whether reasoning items have `encrypted_content`.
        echo: the settings that the response repeats.
        namespaces: namespace and name of each function in a namespace, by the name that the model sees.
        names: the names of fields in the Responses request, for errors about the chat request.
    """

    request: v1.ChatCompletionRequest
    stream: bool
    encrypted: bool
    echo: Json
    namespaces: Mapping[str, tuple[str, str]]
    names: FieldNames


def responses_request_from_json(body: Mapping[str, Any], *, allow_unknown: bool = False) -> ResponsesRequest:
    """Reads the Responses request in a parsed JSON body.

    Checks types, and the rules for fields that chat requests do not have. `jaxchat.chat.request.validate` checks all
    other rules. A key with the value `null` is treated as absent.

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
    _check_rules(draft)
    _set_tools(draft, allow_unknown)
    _set_user(draft)
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
    """Asks for log-probabilities if `include` names them.

    Otherwise, raises `ChatError` 400 if `top_logprobs` or `exact_logprobs` is set to a value other than 0 and false.
    """
    if settings.LOGPROBS in draft.include:
        draft.request.logprobs = True
        return
    for key in ("top_logprobs", "exact_logprobs"):
        if body.get(key):
            raise invalid(key, f"only allowed when include has '{settings.LOGPROBS}'.")
    draft.request.ClearField("top_logprobs")
    draft.request.ClearField("exact_logprobs")


def _check_rules(draft: Draft) -> None:
    """Checks a rule that the validator checks too, because the validator's error would name a field of a chat request.

    Raises:
        ChatError: 400 if the request has both `structured_outputs` and a `text.format` other than `text`.
    """
    plain = draft.request.response_format.type in (v1.RESPONSE_FORMAT_TYPE_UNSPECIFIED, v1.RESPONSE_FORMAT_TYPE_TEXT)
    if draft.request.HasField("structured_outputs") and not plain:
        raise invalid("structured_outputs", "only allowed when text.format is absent or of type 'text'.")


def _set_tools(draft: Draft, allow_unknown: bool) -> None:
    """Sets the tools and the tool choice. Without tools, drops `parallel_tool_calls` and the choice `auto`.

    Raises:
        ChatError: 400 on the tool choice.
    """
    request, functions = draft.request, draft.functions
    if draft.tool_choice is not None:
        request.tool_choice.CopyFrom(functions.choose(draft.tool_choice, "tool_choice", allow_unknown))
    request.tools.extend(functions.tools)
    if not functions.tools:
        request.ClearField("parallel_tool_calls")
        if request.tool_choice.mode == v1.TOOL_CHOICE_MODE_AUTO:
            request.ClearField("tool_choice")


def _set_user(draft: Draft) -> None:
    """Sets `user` to `safety_identifier`. Raises `ChatError` 400 if the request has both."""
    if draft.safety_identifier is None:
        return
    if draft.request.HasField("user"):
        raise invalid("safety_identifier", "user is given too. Give only one of the two.")
    draft.request.user = draft.safety_identifier
