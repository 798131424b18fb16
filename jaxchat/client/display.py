"""The display of answers: one short line for `repr`, Markdown for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxchat.client.completion import AssistantMessage, ChatCompletion

LONGEST_TEXT = 80  # characters of one text
MOST_ITEMS = 3


def short_repr(value: Any) -> str:
    """Returns the one-line repr of a dataclass. Omits fields that are None. Shortens long texts and tuples."""
    shown = ((field.name, getattr(value, field.name)) for field in fields(value) if field.repr)
    body = ", ".join(f"{name}={_short(part)}" for name, part in shown if part is not None)
    return f"{type(value).__name__}({body})"


def completion_repr(completion: ChatCompletion) -> str:
    """Returns `ChatCompletion('text', finish_reason='stop', ...)`, with the number of choices if there are several."""
    first = completion.choices[0] if completion.choices else None
    parts = [*(_message_parts(first.message) if first else ())]
    if first:
        parts.append(f"finish_reason={first.finish_reason!r}")
    if len(completion.choices) > 1:
        parts.append(f"choices={len(completion.choices)}")
    usage = completion.usage
    parts.append(f"tokens={usage.prompt_tokens}+{usage.completion_tokens}")
    if completion.seed_used is not None:
        parts.append(f"seed_used={completion.seed_used}")
    return f"{type(completion).__name__}({', '.join(parts)})"


def completion_markdown(completion: ChatCompletion) -> str:
    """Returns every choice's message in Markdown, and a line with model, finish reasons, token counts and seed."""
    several = len(completion.choices) > 1
    texts = [
        (f"**Choice {choice.index}**\n\n" if several else "") + message_markdown(choice.message)
        for choice in completion.choices
    ]
    ends = ", ".join(str(choice.finish_reason) for choice in completion.choices)
    usage = completion.usage
    tokens = f"{usage.prompt_tokens} + {usage.completion_tokens} tokens"
    return "\n\n".join([*texts, f"*{completion.model} · {ends} · {tokens} · seed {completion.seed_used}*"])


def message_markdown(message: AssistantMessage) -> str:
    """Returns a message in Markdown: its content unchanged, then its calls as code."""
    calls = [call.function for call in message.tool_calls or ()]
    if message.function_call:
        calls.append(message.function_call)
    blocks = [f"```python\n{call.name}({call.arguments})\n```" for call in calls]
    return "\n\n".join([*filter(None, [message.content]), *blocks])


def _message_parts(message: AssistantMessage) -> Iterator[str]:
    if message.content is not None:
        yield _short(message.content)
    if message.reasoning_content:
        yield f"reasoning_content={_short(message.reasoning_content)}"
    if message.tool_calls:
        yield f"tool_calls={_names(call.function.name for call in message.tool_calls)}"
    if message.function_call:
        yield f"function_call={message.function_call.name!r}"


def _names(names: Iterable[str | None]) -> str:
    return f"[{', '.join(map(str, names))}]"


def _short(value: Any) -> str:
    if isinstance(value, str | bytes) and len(value) > LONGEST_TEXT:
        return f"{value[: LONGEST_TEXT - 1]!r}..."
    if isinstance(value, tuple) and len(value) > MOST_ITEMS:
        return f"[{len(value)} items]"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_short, value))}]"
    return repr(value)
