"""Makes the errors for what a chat template refuses or omits. Each names the message, tool or variable at fault."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from jaxchat.chat.prompt.messages import Message, Tool
from jaxchat.errors import ChatError, invalid, safe_repr

PROBE = "probed_system_message"
_LONGEST = 200  # characters of a template's own message
_PLAIN_TOOL: Tool = {
    "type": "function",
    "function": {"name": "plain", "description": "plain", "parameters": {"type": "object", "properties": {}}},
}
_PLAIN_QUESTION: Message = {"role": "user", "content": "plain"}
Render = Callable[[list[Message], list[Tool] | None], object]


def refusal(error: Exception, render: Render, messages: Sequence[Message], tools: Sequence[Tool] | None) -> ChatError:
    """Returns a `ChatError` (status 400) that names the part of a conversation that the template refuses.

    Args:
        error: the exception of the template.
        render: renders a conversation. Raises an exception if the template refuses it.
        messages: the conversation.
        tools: the functions that the model may call, if any.
    """
    if tools and (_renders(render, messages, None) or _renders(render, messages, [_PLAIN_TOOL])):
        index = _first_refused(lambda count: _same(_error(render, messages, tools[:count]), error), len(tools))
        return _refused(f"tools.{index}", "tool", error)
    shown = None if _same(_error(render, messages, None), error) else tools
    index = _first_refused(lambda count: _refuses_so(error, render, messages[:count], shown), len(messages))
    return _refused(f"messages.{index}", "message", error)


def refused_variable(
    error: Exception, render_with: Callable[[Mapping[str, Any]], object], kwargs: Mapping[str, Any]
) -> ChatError | None:
    """Returns a `ChatError` (status 400) if template variables make the template refuse a conversation, otherwise None.

    If the template renders the conversation once a single variable is left out, the error names that variable; the
    first one, if there are several. If there is none, but the template renders the conversation without any variables,
    the error names `chat_template_kwargs`.

    Args:
        error: the exception of the template.
        render_with: renders the conversation with the given variables. Raises an exception if the template refuses it.
        kwargs: the values of variables that the request sets, by name.
    """
    for name in kwargs:
        others = {other: value for other, value in kwargs.items() if other != name}
        if _succeeds(partial(render_with, others)):
            return _refused(f"chat_template_kwargs.{name}", "value", error)
    if len(kwargs) > 1 and _succeeds(lambda: render_with({})):
        return _refused("chat_template_kwargs", "object", error)
    return None


def unreadable(name: str, settable: Collection[str], server_variables: Collection[str]) -> str:
    """Returns the error message for a variable that may not be set, or that the chat template never reads.

    Args:
        name: the variable.
        settable: names of the variables that may be set.
        server_variables: names of the variables that the server sets.
    """
    if name in server_variables:
        return f"The server itself sets {safe_repr(name)}."
    names = ", ".join(sorted(settable)) or "none"
    return f"The model's chat template does not read {safe_repr(name)}. Variables that it reads: {names}."


def _first_refused(refuses: Callable[[int], bool], count: int) -> int:
    """Returns the index of the item at fault: the last item of the shortest beginning that is refused.

    For example, returns 2 if the first 2 items are accepted and the first 3 items are refused. Every longer beginning
    must be refused too.

    Args:
        refuses: `refuses(length)` returns whether the first `length` items are refused.
        count: number of items. All of them together are refused.
    """
    return bisect_left(range(1, count), True, key=refuses)


def _refuses_so(error: Exception, render: Render, messages: Sequence[Message], tools: Sequence[Tool] | None) -> bool:
    """Returns whether the template refuses the first messages of a conversation with the same error as `error`.

    A template may raise another error because the rest of the conversation is missing. In this case, the messages are
    tried again with a question after them.
    """
    reason = _error(render, messages, tools)
    if reason is not None and not _same(reason, error):
        reason = _error(render, [*messages, _PLAIN_QUESTION], tools)
    return _same(reason, error)


def late_system_messages(messages: Sequence[Message], prompt: str) -> Iterator[int]:
    """Yields the index of each system message whose text is not in the prompt. Skips the message at index 0."""
    for index, message in enumerate(messages):
        if index and message["role"] == "system" and message["content"].strip() not in prompt:
            yield index


def dropped(index: int) -> ChatError:
    """Returns a `ChatError` (status 400) that says that the template omits the system message at `index`."""
    return invalid(
        f"messages.{index}.role",
        "The model's chat template leaves out a system message at this position. Put its text into the first message.",
    )


def _renders(render: Render, messages: Sequence[Message], tools: Sequence[Tool] | None) -> bool:
    return _error(render, messages, tools) is None


def _error(render: Render, messages: Sequence[Message], tools: Sequence[Tool] | None) -> Exception | None:
    try:
        render(list(messages), list(tools) if tools else None)
    except Exception as error:  # templates are programs, which may raise anything
        return error
    return None


def _same(one: Exception | None, other: Exception) -> bool:
    """Returns whether two exceptions have the same type and text.

    The text of a RecursionError is not compared, because it depends on the place where the recursion stopped.
    """
    return type(one) is type(other) and (str(one) == str(other) or isinstance(one, RecursionError))


def _succeeds(render: Callable[[], object]) -> bool:
    try:
        render()
    except Exception:  # templates are programs, which may raise anything
        return False
    return True


def _refused(param: str, part: str, error: Exception) -> ChatError:
    reason = str(error) or type(error).__name__
    reason = reason if len(reason) <= _LONGEST else reason[: _LONGEST - 3] + "..."
    return invalid(param, f"The model's chat template refuses this {part}: {reason}")
