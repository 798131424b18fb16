"""Renders the model's chat template, a Jinja program, in a sandbox as `transformers` does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from functools import lru_cache, partial
from typing import Any

from jaxchat.chat.prompt.adapt import adapt, fold_system, with_parts
from jaxchat.chat.prompt.environment import TemplateProgram
from jaxchat.chat.prompt.messages import Message, Tool
from jaxchat.chat.prompt.refusals import PROBE, dropped, late_system_messages, refusal, refused_variable, unreadable
from jaxchat.chat.prompt.template_traits import TemplateTraits, probe_traits
from jaxchat.chat.prompt.template_variables import (
    CLOCK,
    SERVER_VARIABLES,
    SPECIAL_TOKENS,
    TemplateVariables,
    clock,
    utc_today,
)
from jaxchat.chat.response.reasoning import find_reasoning_format
from jaxchat.chat.tools.format import WritesCalls, find_tool_format
from jaxchat.errors import ChatError

_PROBED = 32  # sets of variables whose traits are kept

_FIRST = "probed_first_message"  # another probe than that of `_drops`, which renders with both


class ChatTemplate:
    """A model's chat template. Templates come from the operator, never from a request."""

    def __init__(
        self,
        source: str,
        special_tokens: dict[str, str],
        *,
        with_tools: str | None = None,
        tool_format: str = "auto",
        reasoning_format: str = "auto",
        kwargs: Mapping[str, Any] | None = None,
        today: Callable[[], date] = utc_today,
    ) -> None:
        """Compiles the template.

        Args:
            source: the Jinja source.
            special_tokens: spellings of special tokens, by their names in the template.
            with_tools: a separate source for requests with tools, if there is one.
            tool_format: name of the format of calls, or "auto" to detect it.
            reasoning_format: name of the format of thoughts, "auto" to detect it, or "none" to keep thoughts.
            kwargs: the operator's values of variables, JSON data by name.
            today: returns the day that a template gets when it asks for today.

        Raises:
            ModelError: the source is not valid Jinja, or its format of calls is not supported.
            RegistryError: no format has the given name.
            ValueError: the operator may not set a variable, or the template never reads it.
        """
        self.source = source + (with_tools or "")
        self.tool_format = find_tool_format(tool_format, self.source)
        self.reasoning_format = find_reasoning_format(reasoning_format, self.source)
        self._special_tokens = special_tokens
        self._write_calls = self.tool_format.write_calls if isinstance(self.tool_format, WritesCalls) else None
        self._template = self._with_tools = TemplateProgram(source)
        if with_tools:
            self._with_tools = TemplateProgram(with_tools)
        self.default_kwargs = dict(kwargs or {})
        # of all that decides a rendering and how the answer is read, except the day
        self.digest = _digest(source, with_tools, special_tokens, tool_format, reasoning_format, self.default_kwargs)
        self._today = today
        self._check_defaults()
        self._traits_of = lru_cache(_PROBED)(self._probe)
        self._defaults = self.variables()
        self.traits = self._defaults.traits

    @property
    def uses_date(self) -> bool:
        """Whether the template asks for today."""
        return CLOCK in self._template.reads | self._with_tools.reads

    @property
    def day(self) -> date | None:
        """The day that the template gets as today. None if it does not ask for it."""
        return self._today() if self.uses_date else None

    @property
    def server_variables(self) -> frozenset[str]:
        """Names of the variables and functions that the server gives to the template."""
        return SERVER_VARIABLES | SPECIAL_TOKENS | self._special_tokens.keys() | self._template.functions

    def settable(self, tools: bool) -> frozenset[str]:
        """Returns the names of the variables that a request may set, for requests with or without tools."""
        program = self._with_tools if tools and self.traits.tools == "variable" else self._template
        return program.reads - self.server_variables

    def variables(self, kwargs: Mapping[str, Any] | None = None) -> TemplateVariables:
        """Returns the variables of a request.

        Args:
            kwargs: the request's values of variables, JSON data by name.
        """
        variables = TemplateVariables(defaults=self.default_kwargs, kwargs=kwargs or {}, day=self._today())
        return replace(variables, traits=self._traits_of(json.dumps(variables.values)))

    def render(
        self,
        messages: list[Message],
        tools: list[Tool] | None,
        instruction: str = "",
        variables: TemplateVariables | None = None,
    ) -> str:
        """Renders the text of a prompt up to the beginning of the assistant's turn.

        Args:
            messages: the conversation, as `template_messages` makes it.
            tools: the functions that the model may call, if any.
            instruction: text that is added to the system message.
            variables: the result of `variables` for the request; None for a request that sets none, at load.

        Raises:
            ChatError: 400 on the message, tool or variable that the template refuses, or the message that it drops.
        """
        variables = variables or self._defaults
        render = partial(self._render, instruction=instruction, variables=variables)
        try:
            text = render(messages, tools)
        except ChatError:
            raise
        except Exception as error:  # templates are programs, which may raise anything
            raise self._refusal(error, messages, tools, instruction, variables) from None
        for index in late_system_messages(messages, text):
            if _drops(render, index, messages, tools):
                raise dropped(index)
        return text

    def _refusal(
        self,
        error: Exception,
        messages: list[Message],
        tools: list[Tool] | None,
        instruction: str,
        variables: TemplateVariables,
    ) -> ChatError:
        def render_with(kwargs: Mapping[str, Any]) -> str:
            return self._render(messages, tools, instruction, replace(variables, kwargs=kwargs))

        render = partial(self._render, instruction=instruction, variables=variables)
        return refused_variable(error, render_with, variables.kwargs) or refusal(error, render, messages, tools)

    def _render(
        self, messages: list[Message], tools: list[Tool] | None, instruction: str, variables: TemplateVariables
    ) -> str:
        """Renders a conversation. Moves a system message that the template drops into the first user message."""
        adapted, functions = adapt(messages, tools, variables.traits, self._write_calls, instruction)
        run = partial(self._run, variables=variables, parts=variables.traits.content_parts)
        text = run(adapted, functions)
        if not adapted or adapted[0]["role"] != "system" or adapted[0]["content"].strip() in text:
            return text
        if _FIRST in run([adapted[0] | {"content": _FIRST}, *adapted[1:]], functions):
            return text
        return run(fold_system(adapted), functions)

    def _probe(self, values: str) -> TemplateTraits:
        """Returns the traits with the values of variables in a JSON text."""
        variables = TemplateVariables(defaults=json.loads(values))

        def render(traits: TemplateTraits, messages: list[Message], tools: list[Tool] | None) -> str:
            return self._run(*adapt(messages, tools, traits, self._write_calls), variables, traits.content_parts)

        return probe_traits(render, writes_calls=self._write_calls is not None)

    def _run(self, messages: list[Message], tools: list[Tool] | None, variables: TemplateVariables, parts: bool) -> str:
        program = self._with_tools if tools else self._template
        return program.template.render(
            {
                **self._special_tokens,
                **variables.values,
                "messages": with_parts(messages) if parts else messages,
                "tools": tools,
                "documents": None,
                "add_generation_prompt": True,
                CLOCK: clock(variables.day),
            }
        )

    def _check_defaults(self) -> None:
        settable = (self._template.reads | self._with_tools.reads) - self.server_variables
        for name in self.default_kwargs:
            if name not in settable:
                raise ValueError(f"chat_template_kwargs: {unreadable(name, settable, self.server_variables)}")


def _drops(
    render: Callable[[list[Message], list[Tool] | None], str],
    index: int,
    messages: list[Message],
    tools: list[Tool] | None,
) -> bool:
    """Returns whether the template leaves out a message, whatever its text. Some only change the text."""
    changed = [*messages]
    changed[index] = messages[index] | {"content": PROBE}
    try:
        return PROBE not in render(changed, tools)
    except Exception:  # the template reads the message, as it refuses this text
        return False


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
