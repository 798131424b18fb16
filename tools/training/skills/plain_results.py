"""Results of tools that are plain text: a bare value, a phrase, a list or an error."""

from __future__ import annotations

import json
from random import Random

from tools.training.sample import Sample, assistant, calls, result, user
from tools.training.skills import tool_use, words
from tools.training.skills.catalogue import TOOLS, invented

SKILL = "plain tool result"
ERRORS = (
    "not found",
    "timeout",
    "no connection",
    "permission denied",
    "invalid argument",
    "service unavailable",
    "too many requests",
    "unknown name",
    "internal error",
)
_CONDITIONS = ("sunny", "cloudy", "rainy", "snowy", "windy", "foggy", "clear")


def make(rng: Random) -> Sample:
    """Returns a request, a call, its result as text and the answer. The key is the call with its result."""
    while True:
        tool = invented(rng) if rng.random() < 0.4 else rng.choice((*TOOLS, TOOLS[0], TOOLS[0], TOOLS[0]))
        declaration = tool.declaration(rng)
        name = declaration["function"]["name"]
        asked, arguments = tool_use.ask(rng, tool)
        stated = all(slot in arguments or f"{{{slot}}}" not in tool.answer for slot in tool.params)
        if stated and not Sample(skill=tool_use.CALL, key=f"{name}{arguments}", messages=()).held_out:
            break
    draw = rng.random()
    if draw < 0.2:
        content, answer = _error(rng)
    elif draw < 0.4:
        content, answer = _list(rng)
    elif tool is TOOLS[0] and draw < 0.8:
        content, answer = _weather(rng, arguments["city"])
    elif len(tool.returns) == 1:
        content, answer = _value(rng, tool, arguments)
    else:
        content = " ".join(words.made_up(rng) for _ in range(rng.randint(1, 4)))
        answer = f"The result is: {content}"
    turns = (user(asked), calls((name, arguments)), result(content), assistant(answer))
    return Sample(skill=SKILL, key=f"{name}{arguments}{content}", messages=turns, tools=(declaration,))


def _error(rng: Random) -> tuple[str, str]:
    error = rng.choice(ERRORS)
    if rng.random() < 0.4:
        error = f"{rng.choice((words.made_up(rng), rng.choice(words.PRODUCTS), words.city(rng)))} {error}"
    text = rng.choice(
        (f"error: {error}", f"Error: {error}", f"ERROR: {error}", json.dumps({"error": error}), f"failed: {error}")
    )
    return text, f"The tool failed: {error}"


def _list(rng: Random) -> tuple[str, str]:
    make = rng.choice((words.made_up, words.full_name, words.company, words.city))
    items = [make(rng) for _ in range(rng.randint(2, 5))]
    text = rng.choice((json.dumps(items), ", ".join(items), "\n".join(items), "\n".join(f"- {item}" for item in items)))
    return text, f"The results are {words.listed(items)}."


def _weather(rng: Random, city: str) -> tuple[str, str]:
    degrees, condition = rng.randrange(-15, 40), rng.choice(_CONDITIONS)
    draw = rng.random()
    if draw < 0.25:
        return rng.choice(
            (f"{degrees}", f"{degrees} C", f"{degrees}°C", f"{degrees} degrees")
        ), f"It is {degrees} degrees in {city}."
    if draw < 0.35:
        return rng.choice((condition, condition.capitalize())), f"It is {condition} in {city}."
    form = rng.choice(
        (
            "{c}, {d} C",
            "{c}, {d}°C",
            "{d}°C, {c}",
            "{d} C and {c}",
            "{c} and {d} degrees",
            "{c} {d}",
            "{d} degrees, {c}",
            "{d} C, {c}",
        )
    )
    shown = rng.choice((condition, condition, condition.capitalize()))
    return form.format(c=shown, d=degrees), f"It is {degrees} degrees and {condition} in {city}."


def _value(rng: Random, tool: tool_use.Tool, arguments: tool_use.Arguments) -> tuple[str, str]:
    ((field, fill),) = tool.returns.items()
    value = tool_use.shown(fill(rng))
    text = rng.choice((value, value, f"{field}: {value}", f"{field} = {value}"))
    if text == value and tool not in TOOLS:  # nothing in the conversation names the field of an invented tool
        return text, f"The result is {value}."
    texts = {slot: tool_use.shown(argument) for slot, argument in arguments.items()}
    return text, tool.answer.format(**texts | {field: value})
