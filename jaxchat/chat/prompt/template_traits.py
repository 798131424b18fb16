"""Determines at load what a chat template prints and which forms of a message it accepts, by rendering probes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

from jaxchat.chat.prompt.messages import Message, Tool

EmptyContent = Literal["absent", "null", "text"]
ToolPlace = Literal["variable", "system key", "text"]
Render = Callable[["TemplateTraits", list[Message], list[Tool] | None], str]

_WRITTEN = "written into the assistant's text"
_QUESTION = ["probed_question"]
_USER = {"role": "user", "content": _QUESTION[0]}
_PARAMETERS = {"type": "object", "properties": {"probed_key": {"type": "string", "description": "probed"}}}


@dataclass(frozen=True, kw_only=True)
class TemplateTraits:
    """The parts of a conversation that a chat template prints, and the forms that it accepts.

    Attributes:
        named_roles: roles whose `name` the template prints.
        takes_system: whether the template prints a system message.
        fills_functions: whether it needs a description and parameters in every function.
        tools: where it reads functions: the variable `tools`, the key `tools` of the system message, or nowhere. In the
            last case functions are described in text.
        calls: whether it prints calls in an assistant message without content.
        calls_beside_content: whether it prints calls in an assistant message with content.
        results: whether it prints tool messages.
        empty_content: the form of content that it needs in an assistant message with calls and without text.
        arguments_as_text: whether it needs the arguments of calls as JSON text.
        wraps_arguments: whether it needs an object in place of arguments that are not a JSON object.
        content_parts: whether it prints content only if that is a list of parts.
        writes_calls: whether jaxchat can write tools and calls as text where the template does not print them.
    """

    named_roles: frozenset[str] = frozenset()
    takes_system: bool = True
    fills_functions: bool = False
    tools: ToolPlace = "variable"
    calls: bool = True
    calls_beside_content: bool = True
    results: bool = True
    empty_content: EmptyContent = "absent"
    arguments_as_text: bool = False
    wraps_arguments: bool = False
    content_parts: bool = False
    writes_calls: bool = True

    def notes(self) -> Iterator[str]:
        """Yields sentences for the start-up message about what the template does not print."""
        place = "the system message" if self.takes_system else "the first user message"
        if self.tools == "text":
            yield f"does not show tools: they are {f'described in {place}' if self.writes_calls else 'refused'}"
        if not self.calls:
            yield f"does not show calls: they are {_WRITTEN if self.writes_calls else 'refused'}"
        elif not self.calls_beside_content:
            yield f"does not show calls beside text: they are {_WRITTEN}"
        if not self.results:
            yield "does not show results: they are written into user messages"


def probe_traits(render: Render, *, writes_calls: bool) -> TemplateTraits:
    """Returns the traits of a template.

    Args:
        render: adapts messages and tools to the given traits and renders them. May raise any exception.
        writes_calls: whether jaxchat can write tools and calls as text where the template does not print them.
    """
    traits = _messages(render, TemplateTraits(writes_calls=writes_calls))
    traits = _tools(render, traits)
    return _calls(render, traits)


def _messages(render: Render, traits: TemplateTraits) -> TemplateTraits:
    parts = replace(traits, content_parts=True)
    if not _shows(render, traits, [_USER], None, _QUESTION) and _shows(render, parts, [_USER], None, _QUESTION):
        traits = parts
    system = {"role": "system", "content": "probed_system"}
    named = replace(traits, named_roles=frozenset({"system", "user", "assistant"}))
    talks: dict[str, list[Message]] = {
        "system": [system | {"name": "probed_name"}, _USER],
        "user": [_USER | {"name": "probed_name"}],
        "assistant": [_USER, {"role": "assistant", "content": "probed_answer", "name": "probed_name"}, _USER],
    }
    roles = frozenset(role for role, talk in talks.items() if _shows(render, named, talk, None, ["probed_name"]))
    takes_system = _shows(render, traits, [system, _USER], None, ["probed_system"])
    return replace(traits, named_roles=roles, takes_system=takes_system)


def _tools(render: Render, traits: TemplateTraits) -> TemplateTraits:
    full: Tool = {"name": "probed_full", "description": "probed_description", "parameters": _PARAMETERS}
    bare: list[Tool] = [
        {"name": "probed_bare"},
        {"name": "probed_open", "description": "text", "parameters": {"type": "object"}},
    ]
    functions = [full, *bare]
    tools = [{"type": "function", "function": function} for function in functions]
    names = [str(function["name"]) for function in functions]
    places: list[ToolPlace] = ["variable", "system key"]
    for place, fills in product(places, (False, True)):
        candidate = replace(traits, tools=place, fills_functions=fills)
        if _shows(render, candidate, [_USER], tools, names):
            return candidate
    return replace(traits, tools="text")


def _calls(render: Render, traits: TemplateTraits) -> TemplateTraits:
    """Returns the traits, completed by those of calls and results. Prefers forms that the template itself prints."""
    if traits.tools == "text" and not traits.writes_calls:  # tools are refused, but history may hold calls
        render = _without_tools(render)
    results, calls = (True, False), (True, False) if traits.writes_calls else (True,)
    for shows_calls, shows_results in product(calls, results):
        candidate = replace(traits, calls=shows_calls, results=shows_results)
        if form := _best_form(render, candidate):
            return _arguments(render, form)
    leaves_out = any(_rendered(render, form, *_call_talk()[:2]) for form in _forms(traits))
    return replace(traits, calls=not leaves_out)  # a template that refuses calls says why


def _without_tools(render: Render) -> Render:
    return lambda traits, messages, _: render(traits, messages, None)


def _best_form(render: Render, traits: TemplateTraits) -> TemplateTraits | None:
    """Returns the traits with the first form of content and arguments that shows a call and its result, if any does."""
    shown = [form for form in _forms(traits) if _shows(render, form, *_call_talk())]
    clean = [form for form in shown if "None" not in _rendered(render, form, *_call_talk()[:2])]
    return next(iter(clean or shown), None)


def _forms(traits: TemplateTraits) -> list[TemplateTraits]:
    """Returns the traits with each form of empty content and of arguments."""
    contents: list[EmptyContent] = ["absent", "null", "text"]
    return [
        replace(traits, arguments_as_text=as_text, empty_content=content)
        for as_text, content in product((False, True), contents)
    ]


def _arguments(render: Render, traits: TemplateTraits) -> TemplateTraits:
    text = "probed_cut"
    if not _shows(render, traits, *_call_talk(arguments=text)):
        traits = replace(traits, wraps_arguments=True)
    beside = _shows(render, traits, *_call_talk(content="probed_text"))
    return replace(traits, calls_beside_content=traits.calls and (beside or not traits.writes_calls))


def _call_talk(
    arguments: dict[str, str] | str | None = None, content: str | None = None
) -> tuple[list[Message], list[Tool], list[str]]:
    """Returns a conversation with a call and its result, its tools, and the words that the prompt must contain."""
    arguments = arguments if arguments is not None else {"probed_key": "probed_value"}
    call = {"id": "abcdefgh1", "type": "function", "function": {"name": "probed_call", "arguments": arguments}}
    messages: list[Message] = [
        _USER,
        {"role": "assistant", "content": content, "tool_calls": [call]},
        {"role": "tool", "name": "probed_call", "tool_call_id": "abcdefgh1", "content": "probed_result"},
    ]
    function = {"name": "probed_call", "description": "text", "parameters": _PARAMETERS}
    value = arguments if isinstance(arguments, str) else arguments["probed_key"]
    return messages, [{"type": "function", "function": function}], [value, "probed_result"]


def _shows(
    render: Render, traits: TemplateTraits, messages: list[Message], tools: list[Tool] | None, words: Iterable[Any]
) -> bool:
    text = _rendered(render, traits, messages, tools)
    return all(word in text for word in words)


def _rendered(render: Render, traits: TemplateTraits, messages: list[Message], tools: list[Tool] | None) -> str:
    """Returns the prompt, or "" if the template refuses the messages."""
    try:
        return render(traits, messages, tools)
    except Exception:  # templates are programs, which may raise anything
        return ""
