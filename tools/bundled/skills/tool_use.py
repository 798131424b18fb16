"""Choosing a tool and filling its arguments; declining when none fits; telling what a tool returned."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tools.bundled.sample import Message, Sample, assistant, calls, result, trained, user
from tools.bundled.skills import about, capitals, small_talk, unknown, words
from tools.bundled.skills.catalogue import TOOLS, Tool, invented

CALL, DECLINE, RESULT = "tool call", "no tool fits", "tool result"
NO_TOOL = "I do not have a tool for that."
Arguments = dict[str, Any]


def make_call(rng: Random) -> Sample:
    """A request that exactly one of one to five declared tools answers; the call is the key."""
    tool, declared, name = _declared(rng)
    if len(tool.params) == 1 and rng.random() < 0.06:
        return _two_calls(rng, tool, declared, name)
    asked, arguments = _ask(rng, tool)
    return Sample(
        skill=CALL,
        key=f"{name}{arguments}",
        messages=(user(asked), calls((name, arguments))),
        tools=declared,
        check="call",
    )


def make_decline(rng: Random) -> Sample:
    """Tools are declared, but the user talks, asks what the model knows, or wants what no tool does."""
    if rng.random() < 0.5:
        other = trained(rng.choice((small_talk, about, capitals, unknown)).make, rng)
        tools = tuple(t.declaration(rng) for t in _others(rng, None, rng.randint(1, 3)))
        return Sample(skill=DECLINE, key=other.key, messages=other.messages, tools=tools)
    tool = rng.choice(TOOLS)
    asked, _ = _ask(rng, tool)
    tools = tuple(t.declaration(rng) for t in _others(rng, tool, rng.choice((0, 1, 1, 2, 3))))
    return Sample(skill=DECLINE, key=asked, messages=(user(asked), assistant(NO_TOOL)), tools=tools)


def make_result(rng: Random) -> Sample:
    """The answer after a tool returned; the call with its result is the key. Both turns are learned."""
    tool, declared, name = _declared(rng, most=2)
    asked, arguments = _ask(rng, tool)
    returned = {field: fill(rng) for field, fill in tool.returns.items()}
    known = {slot: _shown(value) for slot, value in (arguments | returned).items()}
    while any(
        f"{{{slot}}}" in tool.answer and slot not in known for slot in tool.params
    ):  # an optional one was left out
        asked, arguments = _ask(rng, tool)
        known = {slot: _shown(value) for slot, value in (arguments | returned).items()}
    content = dict(returned)
    if rng.random() < 0.4:
        content = arguments | returned
    if rng.random() < 0.15:
        content = content | {words.made_up(rng): rng.randrange(100)}
    messages: tuple[Message, ...] = (
        user(asked),
        calls((name, arguments)),
        result(json.dumps(content, ensure_ascii=False)),
        assistant(tool.answer.format(**known)),
    )
    return Sample(skill=RESULT, key=f"{name}{arguments}{returned}", messages=messages, tools=declared)


def _declared(rng: Random, most: int = 5) -> tuple[Tool, tuple[dict[str, Any], ...], str]:
    """The tool to be used, all declarations in random order, and the name that it is declared under."""
    tool = invented(rng) if rng.random() < 0.4 else rng.choice(TOOLS)
    count = min(rng.choice((1, 1, 2, 2, 2, 3, 3, 4, 5)), most)
    chosen = tool.declaration(rng)
    declared = [chosen, *(t.declaration(rng) for t in _others(rng, tool, count - 1))]
    rng.shuffle(declared)
    return tool, tuple(declared), chosen["function"]["name"]


def _others(rng: Random, tool: Tool | None, count: int) -> list[Tool]:
    """Tools that share neither a name nor a description's purpose with `tool`, nor with each other."""
    taken, chosen = set(tool.names if tool else ()), []
    while len(chosen) < count:
        other = invented(rng) if rng.random() < 0.35 else rng.choice(TOOLS)
        if not taken & set(other.names) and not (tool and _alike(tool, other)):
            taken |= set(other.names)
            chosen.append(other)
    return chosen


def _alike(tool: Tool, other: Tool) -> bool:
    """Whether a request for the one could be read as a request for the other."""
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


def _ask(rng: Random, tool: Tool) -> tuple[str, Arguments]:
    """A request and the arguments that it states, in the order in which the tool lists its parameters."""
    template = rng.choice(tool.asks)
    arguments = {name: p.fill(rng) for name, p in tool.params.items() if f"{{{name}}}" in template}
    asked = template.format(**{name: _shown(value) for name, value in arguments.items()})
    if not asked.startswith("{") and rng.random() < 0.15:
        asked = rng.choice(("Hi! ", "Hello, ", "Please: ", "Hey, ", "Ok. ")) + asked
    return asked, arguments


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _two_calls(rng: Random, tool: Tool, declared: tuple[dict[str, Any], ...], name: str) -> Sample:
    """Two requests in one turn, answered by two calls."""
    (first, one), (second, two) = _ask(rng, tool), _ask(rng, tool)
    asked = f"{first} {rng.choice(('And', 'Also:', 'Then:'))} {second}"
    return Sample(
        skill=CALL,
        key=f"{name}{one}{two}",
        messages=(user(asked), calls((name, one), (name, two))),
        tools=declared,
        check="call",
    )
