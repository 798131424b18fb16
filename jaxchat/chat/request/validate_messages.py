"""Rules for the conversation: the fields of each role, and an answer to every tool call."""

from __future__ import annotations

from typing import NamedTuple

from jaxchat import v1
from jaxchat.chat.request.validate_fields import check_name
from jaxchat.errors import invalid, missing, safe_repr


class RoleRule(NamedTuple):
    """The fields that a message of one role may or must have.

    Attributes:
        needs_content: whether a message must have content.
        parts: whether content may be a list of parts.
        only: fields that only this role may have.
        required: fields that a message must have.
    """

    needs_content: bool
    parts: bool
    only: frozenset[str]
    required: tuple[str, ...] = ()


_ASSISTANT_FIELDS = frozenset({"tool_calls", "function_call", "reasoning_content", "refusal"})
_OWN_FIELDS = (*sorted(_ASSISTANT_FIELDS), "tool_call_id")
_PLAIN = RoleRule(needs_content=True, parts=True, only=frozenset())
ROLE_RULES: dict[int, RoleRule] = {
    v1.ROLE_SYSTEM: _PLAIN,
    v1.ROLE_DEVELOPER: _PLAIN,
    v1.ROLE_USER: _PLAIN,
    v1.ROLE_ASSISTANT: RoleRule(False, True, _ASSISTANT_FIELDS),
    v1.ROLE_TOOL: RoleRule(True, True, frozenset({"tool_call_id"}), ("tool_call_id",)),
    v1.ROLE_FUNCTION: RoleRule(False, False, frozenset(), ("name",)),
}


def check_messages(request: v1.ChatCompletionRequest) -> None:
    """Checks all messages. Raises `ChatError` 400 on the first invalid message or field."""
    if not request.messages:
        raise invalid("messages", "expected at least one message, got none.")
    for i, message in enumerate(request.messages):
        _check_message(message, f"messages.{i}")
    _check_sequence(request)


def _check_message(message: v1.ChatMessage, path: str) -> None:
    rule = ROLE_RULES.get(message.role)
    if rule is None:
        raise missing(f"{path}.role")
    word = v1.Role.Name(message.role).removeprefix("ROLE_").lower()
    set_fields = {field.name for field, _ in message.ListFields()}
    for field in _OWN_FIELDS:
        if field in set_fields and field not in rule.only:
            raise invalid(f"{path}.{field}", f"not allowed in a message of role '{word}'.")
    for field in rule.required:
        if field not in set_fields:
            raise missing(f"{path}.{field}", f"A message of role '{word}' must have it.")
    if message.HasField("name"):
        check_name(message.name, f"{path}.name")
    _check_content(message, rule, word, path)
    _check_calls(message, path)


def _check_content(message: v1.ChatMessage, rule: RoleRule, word: str, path: str) -> None:
    kind = message.WhichOneof("content_kind")
    text = message.text or "".join(part.text or part.refusal for part in message.parts.parts)
    if message.refusal and text not in ("", message.refusal):
        raise invalid(f"{path}.refusal", "only allowed in a message whose content is null, empty or the same.")
    if kind is None and rule.needs_content:
        raise missing(f"{path}.content", f"A message of role '{word}' must have it.")
    if kind != "parts":
        return
    if not rule.parts:
        raise invalid(f"{path}.content", f"expected a string in a message of role '{word}', got an array.")
    check_parts(
        message.parts, f"{path}.content", f"a message of role '{word}'", refusals=message.role == v1.ROLE_ASSISTANT
    )


def check_parts(content: v1.ContentParts, path: str, holder: str, *, refusals: bool) -> None:
    """Checks content that is given in parts.

    Args:
        content: the parts.
        path: path of the content in the request, for errors.
        holder: what contains the content, such as "a prediction", for errors.
        refusals: whether parts of the type `refusal` are allowed.

    Raises:
        ChatError: 400 on the content if it has no part, or on the first invalid part.
    """
    if not content.parts:
        raise invalid(path, "expected at least one part, got an empty array.")
    for j, part in enumerate(content.parts):
        _check_part(part, f"{path}.{j}", holder, refusals)


def _check_part(part: v1.ContentPart, path: str, holder: str, refusals: bool) -> None:
    if not part.type:
        raise missing(f"{path}.type")
    refuses = part.type == v1.CONTENT_PART_TYPE_REFUSAL
    if refuses and not refusals:
        raise invalid(f"{path}.type", f"'refusal' is not allowed in {holder}.")
    needed, other = ("refusal", "text") if refuses else ("text", "refusal")
    if not part.HasField(needed):
        raise missing(f"{path}.{needed}", f"A part of type '{needed}' must have it.")
    if part.HasField(other):
        raise invalid(f"{path}.{other}", f"not allowed in a part of type '{needed}'.")


def _check_calls(message: v1.ChatMessage, path: str) -> None:
    seen: set[str] = set()
    for j, call in enumerate(message.tool_calls):
        call_path = f"{path}.tool_calls.{j}"
        if not call.id:
            raise missing(f"{call_path}.id", "A tool call must have an id.")
        if call.id in seen:
            raise invalid(f"{call_path}.id", f"two calls have the id {safe_repr(call.id)}.")
        seen.add(call.id)
        if call.type != v1.TOOL_TYPE_FUNCTION:
            raise missing(f"{call_path}.type", "A tool call must have the type 'function'.")
        _check_call(call.function, f"{call_path}.function")
    if message.HasField("function_call"):
        _check_call(message.function_call, f"{path}.function_call")


def _check_call(call: v1.FunctionCall, path: str) -> None:
    if not call.name:
        raise missing(f"{path}.name", "A call must name its function.")
    if not call.HasField("arguments"):
        raise missing(f"{path}.arguments", "A call must have arguments, a string.")


def _check_sequence(request: v1.ChatCompletionRequest) -> None:
    """Checks that each assistant message with calls is directly followed by one tool message for each of its calls."""
    open_calls: dict[str, int] = {}
    for i, message in enumerate(request.messages):
        if message.role == v1.ROLE_TOOL:
            if open_calls.pop(message.tool_call_id, None) is None:
                raise invalid(
                    f"messages.{i}.tool_call_id",
                    f"no open tool call before this message has the id {safe_repr(message.tool_call_id)}.",
                )
            continue
        _check_answered(open_calls)
        open_calls = {call.id: i for call in message.tool_calls}
    _check_answered(open_calls)


def _check_answered(open_calls: dict[str, int]) -> None:
    for call_id, i in open_calls.items():
        message = f"the tool call {safe_repr(call_id)} must be answered by a tool message right after it."
        raise invalid(f"messages.{i}.tool_calls", message)
