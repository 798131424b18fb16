"""Rules by which jaxchat adapts the plain form of a conversation to a template, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tools.templates.conversations import Json

Form = tuple[Sequence[Json], Sequence[Json]]
"""Messages and tools, as a template reads them."""
Applies = Callable[[Form, Form], bool]

ALWAYS = frozenset(
    {"empty arguments", "name of the call", "ids of the format's length", "results in the order of the calls"}
)
"""Rules that explain a difference for every template. Other rules need a conversation whose plain form fails."""


KEYS = {
    "name of the call": "name",
    "form of empty content": "content",
    "ids of the format's length": "tool_call_id",
}
"""The key of messages that a rule changes, by rule. Many templates do not read these keys."""


def restored(plain: Form, adapted: Form, rule: str) -> Form:
    """Returns the adapted form without the changes of a rule.

    Returns the plain form if the rule changes more than one key of a message, or the two forms have different numbers
    of messages.

    Args:
        plain: messages and tools of the plain form.
        adapted: messages and tools that jaxchat gives to the template.
        rule: name of the rule.
    """
    if rule not in KEYS or len(plain[0]) != len(adapted[0]):
        return plain
    pairs = zip(plain[0], adapted[0], strict=True)
    return [_restored(before, after, KEYS[rule]) for before, after in pairs], adapted[1]


def rules_between(plain: Form, adapted: Form) -> list[str]:
    """Returns the names of the rules that lead from the plain form of a conversation to its adapted form.

    Args:
        plain: messages and tools of the plain form.
        adapted: messages and tools that jaxchat gives to the template.
    """
    return [name for name, applies in RULES.items() if applies(plain, adapted)]


def _restored(before: Json, after: Json, key: str) -> Json:
    """Returns the message `after` with the value that `key` has in `before`.

    For `tool_call_id`, also restores the ids of calls. For `content`, changes only a message that has calls.
    """
    if key == "content" and not after.get("tool_calls"):
        return after
    rest = {name: value for name, value in after.items() if name != key}
    if before.get(key) is not None:
        rest[key] = before[key]
    if key == "tool_call_id" and len(before.get("tool_calls", ())) == len(after.get("tool_calls", ())) > 0:
        pairs = zip(before["tool_calls"], after["tool_calls"], strict=True)
        rest["tool_calls"] = [call | {"id": old["id"]} for old, call in pairs]
    return rest


def _count(form: Form, role: str) -> int:
    return sum(message["role"] == role for message in form[0])


def _calls(form: Form) -> Iterator[Json]:
    for message in form[0]:
        yield from message.get("tool_calls") or ()


def _arguments(plain: Form, adapted: Form) -> Iterator[tuple[Any, Any]]:
    """Yields the arguments of each call as a pair: plain and adapted.

    Yields nothing if the forms have unequal numbers of calls.
    """
    before, after = list(_calls(plain)), list(_calls(adapted))
    if len(before) == len(after):
        for ours, theirs in zip(before, after, strict=True):
            yield ours["function"]["arguments"], theirs["function"]["arguments"]


def _values(form: Form, role: str, key: str) -> list[Any]:
    return [message.get(key) for message in form[0] if message["role"] == role]


def _ids(form: Form) -> list[Any]:
    return [call.get("id") for call in _calls(form)]


def _named(form: Form) -> int:
    return sum("name" in message for message in form[0] if message["role"] != "tool")


def _empty(value: Any) -> bool:
    return value in ("", "null", "{}")


def _tools_in_text(plain: Form, adapted: Form) -> bool:
    return bool(plain[1]) and not adapted[1] and not _tools_in_key(plain, adapted)


def _tools_in_key(plain: Form, adapted: Form) -> bool:
    return any("tools" in message for message in adapted[0])


def _filled(plain: Form, adapted: Form) -> bool:
    return bool(adapted[1]) and list(plain[1]) != list(adapted[1])


def _types_in_any_of(plain: Form, adapted: Form) -> bool:
    before, after = (str(form[1]).count("'anyOf'") for form in (plain, adapted))
    return before < after


def _calls_in_text(plain: Form, adapted: Form) -> bool:
    return len(list(_calls(plain))) > len(list(_calls(adapted)))


def _results_in_text(plain: Form, adapted: Form) -> bool:
    return _count(plain, "tool") > _count(adapted, "tool")


def _names_in_text(plain: Form, adapted: Form) -> bool:
    return _named(plain) > _named(adapted)


def _name_of_call(plain: Form, adapted: Form) -> bool:
    before, after = (_values(form, "tool", "name") for form in (plain, adapted))
    return len(before) == len(after) and before != after


def _results_ordered(plain: Form, adapted: Form) -> bool:
    before, after = (_values(form, "tool", "content") for form in (plain, adapted))
    return before != after and sorted(before) == sorted(after)


def _calls_split(plain: Form, adapted: Form) -> bool:
    before, after = (len(list(_calls(form))) for form in (plain, adapted))
    return before == after and _messages_with_calls(plain) < _messages_with_calls(adapted)


def _messages_with_calls(form: Form) -> int:
    return sum(bool(message.get("tool_calls")) for message in form[0])


def _text_before_calls(plain: Form, adapted: Form) -> bool:
    return _text_beside_calls(plain) and not _text_beside_calls(adapted) and _messages_with_calls(adapted) > 0


def _text_beside_calls(form: Form) -> bool:
    return any(message.get("tool_calls") and message.get("content") for message in form[0])


def _content_form(plain: Form, adapted: Form) -> bool:
    before, after = (
        [message.get("content", ...) for message in form[0] if _has_empty_form(message)] for form in (plain, adapted)
    )
    return len(before) == len(after) and before != after


def _has_empty_form(message: Json) -> bool:
    return bool(message.get("tool_calls")) or (message["role"] == "assistant" and not _text_of(message).strip())


def _text_of(message: Json) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _in_parts(plain: Form, adapted: Form) -> bool:
    return any(isinstance(message.get("content"), list) for message in adapted[0])


def _system_moved(plain: Form, adapted: Form) -> bool:
    return _count(plain, "system") > _count(adapted, "system")


RULES: dict[str, Applies] = {
    "tools in text": _tools_in_text,
    "tools in a key of the system message": _tools_in_key,
    "functions filled in": _filled,
    "types in anyOf": _types_in_any_of,
    "calls in text": _calls_in_text,
    "results in user messages": _results_in_text,
    "system in the first user message": _system_moved,
    "content in parts": _in_parts,
    "name before content": _names_in_text,
    "name of the call": _name_of_call,
    "results in the order of the calls": _results_ordered,
    "calls split": _calls_split,
    "text before calls": _text_before_calls,
    "form of empty content": _content_form,
    "empty arguments": lambda p, a: any(_empty(b) and c != b for b, c in _arguments(p, a)),
    "arguments as text": lambda p, a: any(isinstance(b, dict) and isinstance(c, str) for b, c in _arguments(p, a)),
    "arguments wrapped": lambda p, a: any(
        isinstance(b, str) and not _empty(b) and isinstance(c, dict) for b, c in _arguments(p, a)
    ),
    "ids of the format's length": lambda p, a: len(_ids(p)) == len(_ids(a)) and _ids(p) != _ids(a),
}
