"""The tools that conversations declare: their parameters, requests that need them, and their results."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tools.training.skills import values, words
from tools.training.skills.texts import read

Fill = Callable[[Random], Any]


@dataclass(frozen=True)
class Param:
    """A parameter of a tool.

    Attributes:
        kind: its JSON type.
        fill: draws a value.
        enum: all values, if the schema declares them as an enumeration.
    """

    kind: str
    fill: Fill
    enum: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        """Returns the JSON Schema of the parameter."""
        return {"type": self.kind} | ({"enum": list(self.enum)} if self.enum else {})


@dataclass(frozen=True)
class Tool:
    """A tool, with texts for conversations that use it.

    Attributes:
        names: possible names; a declaration has one of them.
        description: what the tool does.
        params: parameters by name. A parameter is required if every template in `asks` contains it.
        asks: templates of requests. Their fields are names of parameters.
        returns: generators of the fields of a result, by name.
        answer: template of the answer after a result. Its fields are parameters and fields of the result.
    """

    names: tuple[str, ...]
    description: str
    params: dict[str, Param]
    asks: tuple[str, ...]
    returns: dict[str, Fill]
    answer: str

    def declaration(self, rng: Random) -> dict[str, Any]:
        """Returns an OpenAI tool declaration, with a random name from `names` and the parameters in random order."""
        order = rng.sample(list(self.params), len(self.params))
        required = [name for name in self.params if all(f"{{{name}}}" in ask for ask in self.asks)]
        properties = {name: self.params[name].schema() for name in order}
        parameters: dict[str, Any] = {"type": "object", "properties": properties}
        if rng.random() < 0.7:
            parameters["required"] = required
        if rng.random() < 0.25:
            for name, schema in properties.items():
                schema["description"] = rng.choice((f"The {name}.", f"The {name} to use", f"{name.capitalize()}"))
        if rng.random() < 0.1:
            parameters["additionalProperties"] = False
        function = {"name": rng.choice(self.names), "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}


def param(spec: str) -> Param:
    """Returns the parameter that a text describes.

    The text is one of these:

    - `integer LOW HIGH`: an integer from LOW to HIGH - 1.
    - `number`: a price.
    - `one of A|B`: one of these strings. The schema lists them as an enumeration.
    - `choice A|B`: one of these strings. The schema does not list them.
    - A name in `values.STRINGS`: a string that the function of that name draws.

    Args:
        spec: the text.

    Raises:
        KeyError: the text is none of these.
    """
    match spec.split():
        case ["integer", low, high]:
            return Param("integer", lambda rng: rng.randrange(int(low), int(high)))
        case ["number"]:
            return Param("number", words.price)
        case ["one", "of", _, *_]:
            closed = tuple(spec.removeprefix("one of ").split("|"))
            return Param("string", lambda rng: rng.choice(closed), closed)
        case ["choice", _, *_]:
            known = spec.removeprefix("choice ").split("|")
            return Param("string", lambda rng: rng.choice(known))
    return Param("string", values.STRINGS[spec])


def _tool(raw: dict[str, Any]) -> Tool:
    params = {name: param(spec) for name, spec in raw["params"].items()}
    returns = {name: param(spec).fill for name, spec in raw["returns"].items()}
    return Tool(tuple(raw["names"]), raw["description"], params, tuple(raw["asks"]), returns, raw["answer"])


TOOLS = tuple(_tool(raw) for raw in tomllib.loads(read("tools.toml"))["tool"])
_INVENTED_PARAMS = (
    "size",
    "label",
    "count",
    "target",
    "mode",
    "speed",
    "code",
    "owner",
    "weight",
    "place",
    "level",
)


def invented(rng: Random) -> Tool:
    """Returns an invented tool. Requests for it use the words of its declaration."""
    verb, noun = words.made_up(rng), rng.choice((words.made_up(rng), rng.choice(words.PRODUCTS)))
    names = rng.sample((*_INVENTED_PARAMS, words.made_up(rng)), rng.choice((1, 1, 2, 2, 3)))
    params = {name: rng.choice(_INVENTED_KINDS)(rng) for name in names}
    slots = words.listed([f"{name} {{{name}}}" for name in names])
    asks = (
        f"{verb.capitalize()} the {noun} with {slots}.",
        f"Please {verb} the {noun} with {slots}.",
        f"I want to {verb} the {noun} with {slots}.",
        f"{verb} {noun}: {slots}",
    )
    field = rng.choice(("status", "result", "total", words.made_up(rng)))
    return Tool(
        (f"{verb}_{noun}", f"{verb}_{noun}", verb),
        f"{verb.capitalize()} a {noun}.",
        params,
        asks,
        {field: lambda r: rng.choice((words.made_up(r), r.randrange(1000)))},
        f"The {field} is {{{field}}}.",
    )


_INVENTED_KINDS: tuple[Callable[[Random], Param], ...] = (
    lambda rng: Param("string", words.made_up),
    lambda rng: Param("string", lambda r: words.made_up(r).capitalize()),
    lambda rng: param("integer 0 1000"),
    lambda rng: param("one of " + "|".join(dict.fromkeys(words.made_up(rng) for _ in range(3)))),
    lambda rng: Param("boolean", lambda r: r.random() < 0.5),
)
