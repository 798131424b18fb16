"""Renders the model's chat template, a Jinja program, in the same sandbox as `transformers`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import date
from functools import lru_cache, partial
from typing import Any

from jaxchat.chat.prompt.adapt import adapt, fold_system, with_parts
from jaxchat.chat.prompt.call_check import misreads
from jaxchat.chat.prompt.environment import TemplateProgram
from jaxchat.chat.prompt.messages import Message, Tool
from jaxchat.chat.prompt.probe_traits import probe_traits
from jaxchat.chat.prompt.refusals import PROBE, dropped, late_system_messages, refusal, refused_variable, unreadable
from jaxchat.chat.prompt.template_traits import TemplateTraits
from jaxchat.chat.prompt.template_variables import (
    CLOCK,
    SERVER_VARIABLES,
    SPECIAL_TOKENS,
    TemplateVariables,
    clock,
    utc_today,
)
from jaxchat.chat.response.reasoning import find_reasoning_format
from jaxchat.chat.tools.format import UNKNOWN, ToolFormat, WritesCalls, find_tool_format
from jaxchat.errors import ChatError

_PROBED = 32  # sets of variables whose traits are kept

_FIRST = "probed_first_message"  # differs from the probe of `_drops`, which renders messages with both probes


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
            tool_format: name of the tool format, or "auto" to detect it.
            reasoning_format: name of the reasoning format, "auto" to detect it, or "none" to treat thoughts as text.
            kwargs: the operator's values of template variables, JSON data by name.
            today: returns the day for templates that read the current day.

        Raises:
            ModelError: the source is not valid Jinja, or uses an unsupported variant of a tool format.
            RegistryError: no format has the given name, a format that is tried cannot be imported, or a reasoning
                format that is tried has no method `splitter`.
            ValueError: the operator may not set a variable, or the template never reads it.
        """
        self.source = source + (with_tools or "")
        self.reasoning_format = find_reasoning_format(reasoning_format, self.source)
        self._special_tokens = special_tokens
        self._template = self._with_tools = TemplateProgram(source)
        if with_tools:
            self._with_tools = TemplateProgram(with_tools)
        self.default_kwargs = dict(kwargs or {})
        # covers all that decides a rendering and how the answer is read, except for the day
        self.digest = _digest(source, with_tools, special_tokens, tool_format, reasoning_format, self.default_kwargs)
        self._today = today
        self._check_defaults()
        self._use(find_tool_format(tool_format, self.source))
        if tool_format == "auto" and self.traits.calls and misreads(self._render_history, self.tool_format):
            self._use(UNKNOWN)

    def _use(self, tool_format: ToolFormat) -> None:
        """Sets the tool format, and the attributes that depend on the tool format."""
        self.tool_format = tool_format
        self._write_calls = tool_format.write_calls if isinstance(tool_format, WritesCalls) else None
        self._traits_of = lru_cache(_PROBED)(self._probe)
        self._defaults = self.variables()
        self.traits = self._defaults.traits

    @property
    def uses_date(self) -> bool:
        """Whether the template reads the current day."""
        return CLOCK in self._template.reads | self._with_tools.reads

    @property
    def day(self) -> date | None:
        """The current day, or None if the template does not read it."""
        return self._today() if self.uses_date else None

    @property
    def server_variables(self) -> frozenset[str]:
        """Names of the variables and functions that the server gives to the template."""
        return SERVER_VARIABLES | SPECIAL_TOKENS | self._special_tokens.keys() | self._template.functions

    def settable(self, tools: bool) -> frozenset[str]:
        """Returns the names of the template variables that a request may set.

        Args:
            tools: whether the request has tools.
        """
        program = self._with_tools if tools and self.traits.tools == "variable" else self._template
        return program.reads - self.server_variables

    def variables(self, kwargs: Mapping[str, Any] | None = None) -> TemplateVariables:
        """Returns the template variables of a request.

        Args:
            kwargs: the request's values by name, JSON data; None if the request does not set any.
        """
        variables = TemplateVariables(defaults=self.default_kwargs, kwargs=kwargs or {}, day=self._today())
        return replace(variables, traits=self._traits_of(json.dumps(variables.values)))

    def render(
        self,
        messages: list[Message],
        tools: list[Tool] | None,
        instruction: str = "",
        variables: TemplateVariables | None = None,
        *,
        begins: bool = True,
    ) -> str:
        """Renders the text of a prompt.

        Args:
            messages: the conversation, as `template_messages` makes it.
            tools: the functions that the model may call, if any.
            instruction: text that is added to the system message.
            variables: the template variables of the request, as the method `variables` returns them; None for the
                operator's values and the day of loading.
            begins: whether the prompt ends with the beginning of an answer.

        Raises:
            ChatError: 400 on the message, tool or variable that the template refuses, or on a system message that the
                template omits.
        """
        variables = variables or self._defaults
        render = partial(self._render, instruction=instruction, variables=variables, begins=begins)
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
        self,
        messages: list[Message],
        tools: list[Tool] | None,
        instruction: str,
        variables: TemplateVariables,
        begins: bool = True,
    ) -> str:
        """Renders a conversation.

        If the template omits a system message at the beginning, or refuses all system messages, moves the text of this
        message into the first user message.
        """
        adapted, functions = adapt(messages, tools, variables.traits, self._write_calls, instruction)
        run = partial(self._run, variables=variables, parts=variables.traits.content_parts, begins=begins)
        if not adapted or adapted[0]["role"] != "system":
            return run(adapted, functions)
        try:
            text = run(adapted, functions)
            if adapted[0]["content"].strip() in text:
                return text
            if _FIRST in run([adapted[0] | {"content": _FIRST}, *adapted[1:]], functions):
                return text
        except Exception:  # templates are programs, which may raise anything
            if variables.traits.takes_system:
                raise
        return run(fold_system(adapted), functions)

    def _probe(self, values: str) -> TemplateTraits:
        """Returns the traits of the template for the values of variables in `values`, the text of a JSON object."""
        variables = TemplateVariables(defaults=json.loads(values))

        def render(traits: TemplateTraits, messages: list[Message], tools: list[Tool] | None) -> str:
            return self._run(*adapt(messages, tools, traits, self._write_calls), variables, traits.content_parts)

        return probe_traits(render, writes_calls=self._write_calls is not None)

    def _render_history(self, messages: list[Message], tools: list[Tool] | None, begins: bool) -> str:
        adapted, functions = adapt(messages, tools, self.traits, self._write_calls)
        return self._run(adapted, functions, self._defaults, self.traits.content_parts, begins=begins)

    def _run(
        self,
        messages: list[Message],
        tools: list[Tool] | None,
        variables: TemplateVariables,
        parts: Collection[str],
        *,
        begins: bool = True,
    ) -> str:
        """Runs the template on adapted messages.

        Args:
            messages: the conversation.
            tools: the functions, if the template reads them from the variable `tools`.
            variables: the template variables.
            parts: roles whose content becomes a list of parts.
            begins: whether the prompt ends with the beginning of an answer.
        """
        program = self._with_tools if tools else self._template
        return program.template.render(
            {
                **self._special_tokens,
                **variables.values,
                "messages": with_parts(messages, parts),
                "tools": tools,
                "documents": None,
                "add_generation_prompt": begins,
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
    """Returns whether the template omits the message at `index`, whatever the text of the message is.

    Replaces the text by a probe to find out, because some templates print a message but change its text.
    """
    changed = [*messages]
    changed[index] = messages[index] | {"content": PROBE}
    try:
        return PROBE not in render(changed, tools)
    except Exception:  # it refuses this text, so it reads the message
        return False


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
