"""Conversations with tools: calls, refusals where no tool fits, and answers from a tool's result."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tools.training.sample import Message, Sample, assistant, calls, result, trained, user
from tools.training.skills import about, capitals, small_talk, unknown, words
from tools.training.skills.catalogue import TOOLS, Tool, invented

CALL, DECLINE, RESULT, SESSION = "tool call", "no tool fits", "tool result", "tool session"
NO_TOOL = "I do not have a tool for that."
Arguments = dict[str, Any]


def make_call(rng: Random) -> Sample:
    """Returns a request with one to five declared tools, exactly one of which fits.

    The `key` of the sample, which decides whether it is held out, is the tool's name with the arguments. A few requests
    need two calls of that tool. Their key has the arguments of both.
    """
    tool, declared, name = _declared(rng)
    if len(tool.params) == 1 and rng.random() < 0.06:
        return _two_calls(rng, tool, declared, name)
    asked, arguments = ask(rng, tool)
    return Sample(
        skill=CALL,
        key=f"{name}{arguments}",
        messages=(user(asked), calls((name, arguments))),
        tools=declared,
        check="call",
    )


def make_decline(rng: Random) -> Sample:
    """Returns a request that no declared tool fits.

    Small talk and known facts get their usual answer. Other requests are declined. If no tool is declared, these other
    requests get the answer to unknown questions.
    """
    if rng.random() < 0.4:
        other = trained(rng.choice((small_talk, about, capitals)).make, rng)
        tools = tuple(t.declaration(rng) for t in _others(rng, None, rng.randint(1, 3)))
        return Sample(skill=DECLINE, key=other.key, messages=other.messages, tools=tools)
    if rng.random() < 0.2:
        tool, asked = None, trained(unknown.make, rng).messages[0]["content"]
    else:
        tool = rng.choice(TOOLS)
        asked, _ = ask(rng, tool)
    tools = tuple(t.declaration(rng) for t in _others(rng, tool, rng.choice((0, 1, 1, 2, 3))))
    answer = NO_TOOL if tools else unknown.ANSWER
    return Sample(skill=DECLINE, key=asked, messages=(user(asked), assistant(answer)), tools=tools)


def make_result(rng: Random) -> Sample:
    """Returns a request, a call, its result and the answer. Training learns both assistant turns.

    The `key` of the sample, which decides whether it is held out, is the call with its result.
    """
    while True:
        tool, declared, name = _declared(rng, most=2)
        if found := _round(rng, tool, name):
            messages, key = found
            return Sample(skill=RESULT, key=key, messages=messages, tools=declared)


def make_session(rng: Random) -> Sample:
    """Returns a conversation of several rounds over the same tools. In many rounds, no tool fits.

    The conversation is for training only, and contains nothing that is held out.
    """
    declines = rng.choice((0.3, 0.6, 0.8))  # a refusal is short: it teaches to match tools at few tokens each
    tools = _others(rng, None, rng.choice((1, 2, 2, 3)))
    declared = tuple(tool.declaration(rng) for tool in tools)
    names = [declaration["function"]["name"] for declaration in declared]
    messages: tuple[Message, ...] = ()
    length = rng.choice((4, 8, 12, 16))
    while len(messages) < length:
        index, other = rng.randrange(len(tools)), invented(rng) if rng.random() < 0.2 else rng.choice(TOOLS)
        if rng.random() < declines and not any(_clash(tool, other) for tool in tools):
            asked, _ = ask(rng, other)
            if not Sample(skill=DECLINE, key=asked, messages=()).held_out:
                messages += (user(asked), assistant(NO_TOOL))
            continue
        found = _round(rng, tools[index], names[index])
        if found and not Sample(skill=RESULT, key=found[1], messages=()).held_out:
            messages += found[0]
    return Sample(skill=SESSION, key="", messages=messages, tools=declared)


def _round(rng: Random, tool: Tool, name: str) -> tuple[tuple[Message, ...], str] | None:
    """Returns the turns request, call, result and answer, and their key: the call with its result.

    Returns None if the call is held out, or the answer names an argument that the request does not state.
    """
    asked, arguments = ask(rng, tool)
    stated = all(slot in arguments or f"{{{slot}}}" not in tool.answer for slot in tool.params)
    if not stated or Sample(skill=CALL, key=f"{name}{arguments}", messages=()).held_out:
        return None
    returned = {field: fill(rng) for field, fill in tool.returns.items()}
    content = arguments | returned if rng.random() < 0.4 else dict(returned)
    if rng.random() < 0.15:
        content[words.made_up(rng)] = rng.randrange(100)
    texts = {slot: shown(value) for slot, value in (arguments | returned).items()}
    answer = assistant(tool.answer.format(**texts))
    turns = (user(asked), calls((name, arguments)), result(json.dumps(content, ensure_ascii=False)), answer)
    return turns, f"{name}{arguments}{returned}"


def _declared(rng: Random, most: int = 5) -> tuple[Tool, tuple[dict[str, Any], ...], str]:
    """Returns the tool to use, all declarations in random order, and the tool's declared name."""
    tool = invented(rng) if rng.random() < 0.4 else rng.choice(TOOLS)
    count = min(rng.choice((1, 1, 2, 2, 2, 3, 3, 4, 5)), most)
    chosen = tool.declaration(rng)
    declared = [chosen, *(t.declaration(rng) for t in _others(rng, tool, count - 1))]
    rng.shuffle(declared)
    return tool, tuple(declared), chosen["function"]["name"]


def _others(rng: Random, tool: Tool | None, count: int) -> list[Tool]:
    """Returns `count` tools that share neither a name nor a purpose with `tool` or with each other."""
    chosen: list[Tool] = []
    while len(chosen) < count:
        other = invented(rng) if rng.random() < 0.35 else rng.choice(TOOLS)
        if not any(_clash(other, known) for known in (*chosen, *((tool,) if tool else ()))):
            chosen.append(other)
    return chosen


def _clash(tool: Tool, other: Tool) -> bool:
    return bool(set(tool.names) & set(other.names)) or _alike(tool, other)


def _alike(tool: Tool, other: Tool) -> bool:
    """Returns whether a request for one tool could be understood as a request for the other."""
    pairs = (
        {"set_timer", "set_alarm"},
        {"convert_currency", "convert_units"},
        {"send_email", "send_message"},
        {"create_note", "add_reminder"},
        {"web_search", "get_news"},
        {"set_temperature", "get_weather"},
        {"create_event", "add_reminder"},
        {"calculator", "convert_currency"},
    )
    return {tool.names[0], other.names[0]} in pairs


def ask(rng: Random, tool: Tool) -> tuple[str, Arguments]:
    """Returns a request and the arguments that the request states, in the order of the tool's parameters."""
    template = words.casual(rng, rng.choice(tool.asks), slips=0.25 if tool in TOOLS else 0.0)
    arguments = {name: p.fill(rng) for name, p in tool.params.items() if f"{{{name}}}" in template}
    asked = template.format(**{name: shown(value) for name, value in arguments.items()})
    if not asked.startswith("{") and rng.random() < 0.15:
        asked = rng.choice(("Hi! ", "Hello, ", "Please: ", "Hey, ", "Ok. ")) + asked
    return asked, arguments


def shown(value: Any) -> str:
    """Returns a value as requests and answers write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _two_calls(rng: Random, tool: Tool, declared: tuple[dict[str, Any], ...], name: str) -> Sample:
    """Returns a turn with two requests for a tool, and its answer with two calls."""
    (first, one), (second, two) = ask(rng, tool), ask(rng, tool)
    asked = f"{first} {rng.choice(('And', 'Also:', 'Then:'))} {second}"
    return Sample(
        skill=CALL,
        key=f"{name}{one}{two}",
        messages=(user(asked), calls((name, one), (name, two))),
        tools=declared,
        check="call",
    )
