"""Determines at load what a chat template prints and which forms of a message it accepts, by rendering probes."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

from jaxchat.chat.prompt.messages import Message, Tool
from jaxchat.chat.prompt.probe_calls import probe_calls
from jaxchat.chat.prompt.probing import PARAMETERS, USER, Render, rendered, shows
from jaxchat.chat.prompt.template_traits import EmptyContent, Filling, TemplateTraits, ToolPlace


def probe_traits(render: Render, *, writes_calls: bool) -> TemplateTraits:
    """Returns the traits of a template.

    Args:
        render: `render(traits, messages, tools)` adapts messages and tools to `traits` and renders them. May raise any
            exception.
        writes_calls: whether jaxchat can write tools and calls as text where the template does not print them.
    """
    traits = _messages(render, TemplateTraits(writes_calls=writes_calls))
    traits = _tools(render, traits)
    return probe_calls(render, traits)


def _messages(render: Render, traits: TemplateTraits) -> TemplateTraits:
    system = {"role": "system", "content": "probed_system"}
    answer = {"role": "assistant", "content": "probed_answer"}
    for message, talk in (USER, [USER]), (system, [system, USER]), (answer, [USER, answer, USER]):
        traits = _text_or_parts(render, traits, message, talk)
    traits = _empty_answer(render, traits, answer)
    named = replace(traits, named_roles=frozenset({"system", "user", "assistant"}))
    talks: dict[str, list[Message]] = {
        "system": [system | {"name": "probed_name"}, USER],
        "user": [USER | {"name": "probed_name"}],
        "assistant": [USER, answer | {"name": "probed_name"}, USER],
    }
    roles = frozenset(role for role, talk in talks.items() if shows(render, named, talk, None, ["probed_name"]))
    takes_system = shows(render, traits, [system, USER], None, ["probed_system"])
    return replace(traits, named_roles=roles, takes_system=takes_system)


def _text_or_parts(render: Render, traits: TemplateTraits, message: Message, messages: list[Message]) -> TemplateTraits:
    """Returns the traits with `content_parts` filled in for the role of `message`.

    The role is added if the template shows the content as a list of parts but not as a string.
    """
    parts = replace(traits, content_parts=traits.content_parts | {message["role"]})
    as_text, in_parts = (shows(render, form, messages, None, [message["content"]]) for form in (traits, parts))
    return parts if in_parts and not as_text else traits


def _empty_answer(render: Render, traits: TemplateTraits, answer: Message) -> TemplateTraits:
    """Returns the traits with `empty_answer` filled in.

    Returns the traits unchanged if the template accepts an empty string. Otherwise chooses the first form for which the
    prompt lacks nothing but the text of the answer. If it does not find such a form, returns the traits unchanged.
    """
    expected = rendered(render, traits, [USER, answer, USER], None).replace(answer["content"], "")
    empty = [USER, answer | {"content": ""}, USER]
    if rendered(render, traits, empty, None):
        return traits
    forms: list[EmptyContent] = ["null", "absent", "parts", "space"]
    for form in forms:
        candidate = replace(traits, empty_answer=form)
        text = rendered(render, candidate, empty, None)
        if expected and "".join(text.split()) == "".join(expected.split()):
            return candidate
    return traits


def _tools(render: Render, traits: TemplateTraits) -> TemplateTraits:
    tools = [
        _tool("full", description="probed_description", parameters=PARAMETERS),
        _tool("bare"),
        _tool("open", description="text", parameters={"type": "object"}),
        _tool("terse", description="text", parameters=_parameters({"type": "string"})),
    ]
    names = [tool["function"]["name"] for tool in tools]
    places: list[ToolPlace] = ["variable", "system key"]
    fillings: list[Filling] = ["no", "functions", "parameters too"]
    for place, filling in product(places, fillings):
        candidate = replace(traits, tools=place, fills_functions=filling)
        if shows(render, candidate, [USER], tools, names):
            return _types(render, candidate)
    return replace(traits, tools="text")


def _types(render: Render, traits: TemplateTraits) -> TemplateTraits:
    """Returns the traits with `types_in_any_of` filled in."""
    schema = {"type": ["string", "null"], "description": "probed"}
    tools = [_tool("union", description="text", parameters=_parameters(schema))]
    as_list, in_any_of = (
        shows(render, form, [USER], tools, ["probed_union"]) for form in (traits, replace(traits, types_in_any_of=True))
    )
    return replace(traits, types_in_any_of=in_any_of and not as_list)


def _tool(name: str, **fields: object) -> Tool:
    return {"type": "function", "function": {"name": f"probed_{name}", **fields}}


def _parameters(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"probed_key": schema}}
