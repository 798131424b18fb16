"""Compiles chat templates in the same Jinja environment as `transformers`."""

from __future__ import annotations

import json
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jaxchat.chat.prompt.free_variables import free_variables
from jaxchat.errors import ModelError


class TemplateProgram:
    """A compiled chat template.

    Attributes:
        template: the Jinja template.
        reads: names of variables and functions that the template may read before it has set them.
        functions: names of the functions that the environment offers to every template.
    """

    def __init__(self, source: str) -> None:
        """Compiles `source`. Raises ModelError if it is not valid Jinja."""
        environment = _environment()
        self.functions = frozenset(environment.globals)
        try:
            tree = environment.parse(source)
            self.reads = frozenset(free_variables(tree))
            self.template = environment.from_string(tree)
        except jinja2.TemplateError as error:
            raise ModelError(f"the chat template is not valid Jinja ({error})") from None


class Generation(Extension):
    """A Jinja extension for `{% generation %}`, which marks assistant text for training. Renders the text unchanged."""

    tags = {"generation"}  # noqa: RUF012 - as the base class declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Returns the syntax nodes inside the block."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def parse(source: str) -> nodes.Template:
    """Returns the syntax tree of a template. Raises `jinja2.TemplateError` if `source` is not valid."""
    return _environment().parse(source)


def _environment() -> ImmutableSandboxedEnvironment:
    """Returns the Jinja environment.

    The environment lacks the function `strftime_now`, because its result depends on the day. Each rendering adds this
    function to the variables of the template.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    return environment


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)
