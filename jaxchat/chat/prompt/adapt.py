"""Converts messages and tools to the form that a chat template accepts.

Parts of a conversation that the template does not print are written as text into messages that it prints.

The text that this module adds may contain control tokens, such as the tokens around calls. The prompt has them as
control tokens, not as text, because this module adds the same text to the decoys, see `control_tokens`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from jaxchat.chat.prompt.call_order import calls_apart, has_text_beside_calls, results_in_call_order, text_before_calls
from jaxchat.chat.prompt.messages import Message, Tool
from jaxchat.chat.prompt.template_traits import EmptyContent, TemplateTraits
from jaxchat.chat.prompt.tool_forms import tool_in_form
from jaxchat.errors import invalid

Call = tuple[str, str]  # name and arguments, JSON text
WriteCalls = Callable[[Sequence[Call]], str]

_PLACEHOLDER = ("FUNCTION_NAME", '{"ARGUMENT_NAME": "VALUE"}')


def adapt(
    messages: Sequence[Message],
    tools: Sequence[Tool] | None,
    traits: TemplateTraits,
    write_calls: WriteCalls | None,
    instruction: str = "",
) -> tuple[list[Message], list[Tool] | None]:
    """Returns the messages and tools in the form that a template with these traits needs.

    The returned tools are None unless the template reads them from the variable `tools`.

    Args:
        messages: the conversation, as `template_messages` makes it.
        tools: the functions that the model may call, if any.
        traits: the traits of the template.
        write_calls: writes calls as text in the model's tool format; None if the format cannot write calls.
        instruction: text to add to the system message.

    Raises:
        ChatError: 400 on tools, on calls or on text beside calls, if the template does not print them and they cannot
            be written as text.
    """
    _refuse_calls(messages, traits, write_calls)
    arranged = _arranged(messages, traits)
    adapted = [_message(message, traits, write_calls) for message in arranged]
    adapted = _results_as_user_messages(adapted, _hidden_results(arranged, adapted, traits))
    functions = [tool_in_form(tool, traits) for tool in tools or ()]
    if functions and traits.tools == "text":
        if write_calls is None:
            raise invalid("tools", "The model's chat template does not show tools, so the model cannot call them.")
        instruction = "\n\n".join(filter(None, [_described(functions, write_calls), instruction]))
    if instruction:
        adapted = _with_instruction(adapted, instruction, traits.takes_system)
    if functions and traits.tools == "system key":
        adapted = _with_system_key(adapted, functions)
    return adapted, functions if functions and traits.tools == "variable" else None


def fold_system(messages: list[Message]) -> list[Message]:
    """Moves the text of the first message, a system message, to the beginning of the first user message.

    Without a user message, the text becomes a user message at the beginning. If the text is blank and there are other
    messages, the text is omitted.
    """
    text = messages[0]["content"]
    if len(messages) > 1 and not text.strip():
        return messages[1:]
    return _with_instruction(messages[1:], text, takes_system=False)


def with_parts(messages: Sequence[Message], roles: Collection[str]) -> list[Message]:
    """Converts the content of all messages with one of `roles` to a list with one text part.

    Content that is not a string stays as it is.
    """
    return [
        message | {"content": [{"type": "text", "text": message["content"]}]}
        if message["role"] in roles and isinstance(message.get("content"), str)
        else message
        for message in messages
    ]


def _refuse_calls(messages: Sequence[Message], traits: TemplateTraits, write_calls: WriteCalls | None) -> None:
    """Raises `ChatError` if the prompt would not show calls, or would not show the text beside calls."""
    shows = "The model's chat template does not show"
    for index, message in enumerate(messages):
        calls = message.get("tool_calls") or ()
        if calls and not (traits.calls or write_calls):
            raise invalid(f"messages.{index}.tool_calls", f"{shows} the calls of tools.")
        if len(calls) > 1 and traits.parallel_calls == "refused":
            raise invalid(f"messages.{index}.tool_calls", f"{shows} more than one call in a message, got {len(calls)}.")
        if traits.text_beside_calls == "refused" and has_text_beside_calls(message):
            raise invalid(f"messages.{index}.content", f"{shows} text beside calls.")


def _arranged(messages: Sequence[Message], traits: TemplateTraits) -> list[Message]:
    """Returns messages in which names, calls and results are at places where the template shows them."""
    arranged = [_named(message, traits) for message in results_in_call_order(messages)]
    if traits.parallel_calls == "apart":
        arranged = calls_apart(arranged)
    return text_before_calls(arranged) if traits.text_beside_calls == "apart" else arranged


def _named(message: Message, traits: TemplateTraits) -> Message:
    """Moves the name of a message to its content, unless the template itself shows names of this role."""
    role, name = message["role"], message.get("name")
    if not name or role == "tool" or role in traits.named_roles:
        return message
    content = f"{name}: {message.get('content') or ''}"
    return {key: value for key, value in message.items() if key != "name"} | {"content": content}


def _message(message: Message, traits: TemplateTraits, write_calls: WriteCalls | None) -> Message:
    message = {"content": None} | message
    calls = message.get("tool_calls")
    if calls:
        message["tool_calls"] = [_call(call, traits) for call in calls]
        if write_calls and not _shows_calls(message, traits):
            written = write_calls([_written(call) for call in message.pop("tool_calls")])
            message["content"] = "\n".join(filter(None, [message["content"], written]))
        elif not message["content"]:
            return _emptied(message, traits.empty_content)
    elif message["role"] == "assistant" and not message["content"]:
        return _emptied(message, traits.empty_answer)
    return message if message["content"] is not None else message | {"content": ""}


def _shows_calls(message: Message, traits: TemplateTraits) -> bool:
    if traits.text_beside_calls == "written" and message["content"]:
        return False
    return traits.calls and not (traits.parallel_calls == "written" and len(message["tool_calls"]) > 1)


def _emptied(message: Message, form: EmptyContent) -> Message:
    if form == "absent":
        return {key: value for key, value in message.items() if key != "content"}
    forms: dict[EmptyContent, Any] = {"null": None, "parts": [{"type": "text", "text": ""}], "space": " "}
    return message | {"content": forms.get(form, "")}


def _call(call: dict[str, Any], traits: TemplateTraits) -> dict[str, Any]:
    function = call["function"]
    arguments = function["arguments"]
    if traits.arguments_as_text and not isinstance(arguments, str):
        arguments = _dumped(arguments)
    elif traits.wraps_arguments and isinstance(arguments, str) and not traits.arguments_as_text:
        arguments = {"_": arguments}
    return call | {"function": function | {"arguments": arguments}}


def _written(call: dict[str, Any]) -> Call:
    """Returns the name of a call and its arguments as JSON text. Arguments that are not JSON become a JSON string."""
    function = call["function"]
    arguments = function["arguments"]
    return function["name"], arguments if isinstance(arguments, str) and _is_json(arguments) else _dumped(arguments)


def _described(tools: Sequence[Tool], write_calls: WriteCalls) -> str:
    lines = "\n".join(_dumped(tool) for tool in tools)
    return (
        f"You can call functions. Each line describes one:\n{lines}\n\n"
        f"To call a function, answer in this form:\n{write_calls([_PLACEHOLDER])}"
    )


def _with_instruction(messages: list[Message], text: str, takes_system: bool) -> list[Message]:
    """Adds `text` to the system message if `takes_system` is true, and otherwise to the first user message."""
    if takes_system:
        if not messages or messages[0]["role"] != "system":
            return [{"role": "system", "content": text}, *messages]
        return [messages[0] | {"content": f"{messages[0]['content']}\n\n{text}"}, *messages[1:]]
    for index, message in enumerate(messages):
        if message["role"] == "user":
            changed = message | {"content": f"{text}\n\n{message['content']}"}
            return [*messages[:index], changed, *messages[index + 1 :]]
    return [{"role": "user", "content": text}, *messages]


def _with_system_key(messages: list[Message], tools: list[Tool]) -> list[Message]:
    key = {"tools": _dumped([tool["function"] for tool in tools])}
    if messages and messages[0]["role"] == "system":
        return [messages[0] | key, *messages[1:]]
    return [{"role": "system", "content": ""} | key, *messages]


def _hidden_results(arranged: list[Message], adapted: list[Message], traits: TemplateTraits) -> Iterator[bool]:
    """Yields for each message whether it is a tool result that the template would not show or could refuse.

    A template that shows calls could refuse a result whose call has been written into the text of a message.
    """
    written = False
    for before, after in zip(arranged, adapted, strict=True):
        if before["role"] == "assistant":
            written = traits.calls and "tool_calls" in before and "tool_calls" not in after
        yield before["role"] == "tool" and (written or not traits.results)


def _results_as_user_messages(messages: list[Message], hidden: Iterable[bool]) -> list[Message]:
    """Converts the results that `hidden` marks to user messages.

    Joins each of them with a user message that directly follows, because many templates require alternating roles.
    """
    converted: list[Message] = []
    after_result = False
    for message, result in zip(messages, hidden, strict=True):
        if result:
            message = {"role": "user", "content": _result(message)}
        if after_result and message["role"] == "user":
            converted[-1] = converted[-1] | {"content": f"{converted[-1]['content']}\n{message['content']}"}
        else:
            converted.append(message)
        after_result = result
    return converted


def _result(message: Message) -> str:
    content = message["content"] or ""
    content = content if _is_json(content) else _dumped(content)
    return f'<tool_response>\n{{"name": {_dumped(message.get("name") or "")}, "content": {content}}}\n</tool_response>'


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
