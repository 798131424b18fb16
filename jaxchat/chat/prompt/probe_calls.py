"""Determines how a chat template shows calls and their results, by rendering probes."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

from jaxchat.chat.prompt.messages import Message, Tool
from jaxchat.chat.prompt.probing import PARAMETERS, USER, Render, rendered, shows
from jaxchat.chat.prompt.template_traits import CallForm, EmptyContent, TemplateTraits


def probe_calls(render: Render, traits: TemplateTraits) -> TemplateTraits:
    """Returns `traits` with the traits of calls and results filled in.

    A message with calls can be given to the template in several forms. Chooses the first form for which the prompt
    shows a call and its result. Among forms that differ only in arguments and empty content, prefers a form without the
    word "None" in the prompt. If no form works, sets only `calls`: to False if the template omits calls, and to True if
    the template refuses calls.

    Args:
        render: `render(traits, messages, tools)` adapts messages and tools to `traits` and renders them. May raise any
            exception.
        traits: the traits found so far.
    """
    if traits.tools == "text" and not traits.writes_calls:  # tools are refused, but history may hold calls
        render = _without_tools(render)
    results, calls = (True, False), (True, False) if traits.writes_calls else (True,)
    parts = traits.content_parts, traits.content_parts | {"tool"}
    for shows_calls, shows_results, content_parts in product(calls, results, parts):
        candidate = replace(traits, calls=shows_calls, results=shows_results, content_parts=content_parts)
        if form := _best_form(render, candidate):
            return _arguments(render, form)
    leaves_out = any(rendered(render, form, *_call_talk()[:2]) for form in _forms(traits))
    return replace(traits, calls=not leaves_out)  # a template that refuses calls says why


def _without_tools(render: Render) -> Render:
    return lambda traits, messages, _: render(traits, messages, None)


def _best_form(render: Render, traits: TemplateTraits) -> TemplateTraits | None:
    """Chooses a form of empty content and a form of arguments, so that the template shows a call and its result.

    Prefers forms for which the prompt does not contain "None". Returns `traits` with the chosen forms, or None if the
    template does not show the call and the result in any of the forms.
    """
    shown = [form for form in _forms(traits) if shows(render, form, *_call_talk())]
    clean = [form for form in shown if "None" not in rendered(render, form, *_call_talk()[:2])]
    return next(iter(clean or shown), None)


def _forms(traits: TemplateTraits) -> list[TemplateTraits]:
    """Returns one copy of the traits for each combination of a form of empty content and a form of arguments."""
    contents: list[EmptyContent] = ["absent", "null", "text"]
    return [
        replace(traits, arguments_as_text=as_text, empty_content=content)
        for as_text, content in product((False, True), contents)
    ]


def _arguments(render: Render, traits: TemplateTraits) -> TemplateTraits:
    text = "probed_cut"
    if not shows(render, traits, *_call_talk(arguments=text)):
        traits = replace(traits, wraps_arguments=True)
    return _parallel_calls(render, _text_beside_calls(render, traits)) if traits.calls else traits


def _text_beside_calls(render: Render, traits: TemplateTraits) -> TemplateTraits:
    text = "probed_text"
    messages, tools, words = _call_talk(content=text)
    for form in _call_forms(traits):
        candidate = replace(traits, text_beside_calls=form)
        if _in_order(rendered(render, candidate, _continued(messages, form), tools), [text, *words], form):
            return candidate
    return replace(traits, text_beside_calls="refused")


def _parallel_calls(render: Render, traits: TemplateTraits) -> TemplateTraits:
    messages, tools, words = _parallel_talk()
    for form in _call_forms(traits):
        candidate = replace(traits, parallel_calls=form)
        if _in_order(rendered(render, candidate, _continued(messages, form), tools), words, form):
            return candidate
    return replace(traits, parallel_calls="refused")


def _call_forms(traits: TemplateTraits) -> list[CallForm]:
    return ["shown", "apart", "written"] if traits.writes_calls else ["shown", "apart"]


def _continued(messages: list[Message], form: CallForm) -> list[Message]:
    """Returns `messages`, with an answer and a question added at the end if `form` is not "shown".

    All forms except "shown" insert or change messages. Some templates that require alternating roles refuse such
    messages only if another answer follows.
    """
    return messages if form == "shown" else [*messages, {"role": "assistant", "content": "probed_answer"}, USER]


def _in_order(text: str, words: list[str], form: CallForm) -> bool:
    """Returns whether a prompt contains all words. If `form` is "apart", the words must also be in order."""
    places = [text.find(word) for word in words]
    return -1 not in places and (form != "apart" or places == sorted(places))


def _parallel_talk() -> tuple[list[Message], list[Tool], list[str]]:
    """Returns a conversation with two calls in a message, its tools, and the words that the prompt must contain."""
    messages, tools, words = _call_talk()
    second = json.loads(json.dumps([messages, tools, words]).replace("probed_", "probed_second_").replace("h1", "h2"))
    calls = [talk[1]["tool_calls"][0] for talk in (messages, second[0])]
    talk = [*messages[:1], messages[1] | {"tool_calls": calls}, messages[2], second[0][2]]
    return talk, [*tools, *second[1]], [*words, *second[2]]


def _call_talk(
    arguments: dict[str, str] | str | None = None, content: str | None = None
) -> tuple[list[Message], list[Tool], list[str]]:
    """Returns a conversation with a call and its result, its tools, and the words that the prompt must contain."""
    arguments = arguments if arguments is not None else {"probed_key": "probed_value"}
    call = {"id": "abcdefgh1", "type": "function", "function": {"name": "probed_call", "arguments": arguments}}
    messages: list[Message] = [
        USER,
        {"role": "assistant", "content": content, "tool_calls": [call]},
        {"role": "tool", "name": "probed_call", "tool_call_id": "abcdefgh1", "content": "probed_result"},
    ]
    function = {"name": "probed_call", "description": "text", "parameters": PARAMETERS}
    value = arguments if isinstance(arguments, str) else arguments["probed_key"]
    return messages, [{"type": "function", "function": function}], [value, "probed_result"]
