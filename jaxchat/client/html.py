"""HTML of answers, models and clients for notebooks. Answers without log-probabilities are shown as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from jaxchat.client.html_tokens import tokens_html
from jaxchat.html import SOFT, Html, element, table

if TYPE_CHECKING:
    from jaxchat.client.chunk import ChatCompletionChunk, ChunkChoice
    from jaxchat.client.completion import ChatCompletion, Choice
    from jaxchat.client.models import Model
    from jaxchat.client.text_completion import TextCompletion, Tokenized
    from jaxchat.client.usage import Usage

_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere"
_SPACES = str.maketrans("\u0120\u2581\u010a", "\u2423\u2423\u21b5")  # white space as vocabularies spell it
_CHIP = "border:1px solid rgba(128,128,128,0.5);border-radius:3px;padding:0 0.2em;margin-right:0.15em"


def completion_html(completion: ChatCompletion | TextCompletion) -> Html | None:
    """Returns the choices of an answer with coloured tokens, or None if the answer has no log-probabilities."""
    parts: list[Html] = []
    for choice in completion.choices:
        shown = choice._repr_html_()
        if shown is None:
            return None
        parts += [element("b", f"Choice {choice.index}")] if len(completion.choices) > 1 else []
        parts.append(Html(shown))
    return element("div", *parts, element("div", facts_line(completion), style=SOFT)) if parts else None


def choice_html(choice: Choice) -> Html | None:
    """Returns a choice's thoughts, coloured tokens and calls, or None if it has no log-probabilities."""
    if choice.logprobs is None:
        return None
    message = choice.message
    calls = [call.function for call in message.tool_calls or ()]
    calls += [message.function_call] if message.function_call else []
    parts = [_thoughts(message.reasoning_content)] if message.reasoning_content else []
    parts += [tokens_html(choice.logprobs.content)] if choice.logprobs.content else []
    parts += [element("div", element("code", f"{call.name}({call.arguments})"), style=_TEXT) for call in calls]
    return element("div", *parts)


def chunk_html(chunk: ChatCompletionChunk) -> Html:
    """Returns what a chunk adds to each of its choices."""
    parts = [_addition(choice) for choice in chunk.choices]
    if chunk.usage:
        parts.append(element("div", tokens_of(chunk.usage), style=SOFT))
    return element("div", *parts)


def tokenized_html(tokenized: Tokenized) -> Html:
    """Returns the tokens of a text as chips, by their names if there are any, otherwise by their ids."""
    names = [name.translate(_SPACES) for name in tokenized.token_strs or map(str, tokenized.tokens)]
    chips = [
        element("span", name, style=_CHIP, title=f"token id {token}")
        for name, token in zip(names, tokenized.tokens, strict=True)
    ]
    line = element("div", *chips, style=f"font-family:monospace;line-height:1.9;{_TEXT}")
    return element("div", line, element("div", f"{tokenized.count} of {tokenized.max_model_len} tokens", style=SOFT))


def models_html(models: Iterable[Model]) -> Html:
    """Returns a table of models, with what their chat templates print and what the server writes instead."""
    rows = [
        (model.id, template.tool_format, template.system, template.tools, template.calls, template.results)
        if (template := model.chat_template)
        else (model.id, *[""] * 5)
        for model in models
    ]
    return table(rows, ("model", "tool format", "system message", "tools", "calls", "results"))


def client_html(name: str, facts: Sequence[tuple[str, str]]) -> Html:
    """Returns what a client is connected to: its repr as the title, and facts about an engine in this process."""
    return element("div", element("b", name), *([table(facts)] if facts else []))


def facts_line(completion: ChatCompletion | TextCompletion) -> str:
    """Returns one line with model, finish reasons, token counts and seed."""
    ends = ", ".join(str(choice.finish_reason) for choice in completion.choices)
    usage = completion.usage
    tokens = [tokens_of(usage)] if usage else []
    return " · ".join([completion.model, ends, *tokens, f"seed {completion.seed_used}"])


def tokens_of(usage: Usage) -> str:
    """Returns the numbers of tokens of a prompt and of its answers."""
    return f"{usage.prompt_tokens} + {usage.completion_tokens} tokens"


def _thoughts(text: str) -> Html:
    return element("details", element("summary", "Thoughts"), element("div", text, style=_TEXT), style=SOFT)


def _addition(choice: ChunkChoice) -> Html:
    delta = choice.delta
    calls = [call.function for call in delta.tool_calls or ()] + ([delta.function_call] if delta.function_call else [])
    parts: list[Html] = [element("span", f"Choice {choice.index} ", style=SOFT)]
    if choice.logprobs and choice.logprobs.content:
        parts.append(tokens_html(choice.logprobs.content, legend=False))
    elif text := delta.content or delta.reasoning_content:
        parts.append(element("code", text, style=_TEXT))
    parts += [element("code", text, style=_TEXT) for call in calls for text in (call.name, call.arguments) if text]
    if choice.finish_reason:
        parts.append(element("span", f" finish reason {choice.finish_reason}", style=SOFT))
    return element("div", *parts)
