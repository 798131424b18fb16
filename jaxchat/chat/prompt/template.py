"""Renders the model's chat template, a Jinja program, in a sandbox as `transformers` does."""

from __future__ import annotations

import json
from datetime import datetime
from functools import partial
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jaxchat.chat.prompt.adapt import adapt, fold_system, with_parts
from jaxchat.chat.prompt.messages import Message, Tool
from jaxchat.chat.prompt.refusals import PROBE, dropped, late_system_messages, refusal
from jaxchat.chat.prompt.template_traits import TemplateTraits, probe_traits
from jaxchat.chat.response.reasoning import find_reasoning_format
from jaxchat.chat.tools.format import WritesCalls, find_tool_format
from jaxchat.errors import ChatError, ModelError

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
    ) -> None:
        """Compiles the template.

        Args:
            source: the Jinja source.
            special_tokens: spellings of special tokens, by their names in the template.
            with_tools: a separate source for requests with tools, if there is one.
            tool_format: name of the format of calls, or "auto" to detect it.
            reasoning_format: name of the format of thoughts, "auto" to detect it, or "none" to keep thoughts.

        Raises:
            ModelError: the source is not valid Jinja, or its format of calls is not supported.
            RegistryError: no format has the given name.
        """
        environment = _environment()
        self.source = source + (with_tools or "")
        self.tool_format = find_tool_format(tool_format, self.source)
        self.reasoning_format = find_reasoning_format(reasoning_format, self.source)
        self._special_tokens = special_tokens
        self._write_calls = self.tool_format.write_calls if isinstance(self.tool_format, WritesCalls) else None
        try:
            self._template = environment.from_string(source)
            self._with_tools = environment.from_string(with_tools) if with_tools else self._template
        except jinja2.TemplateError as error:
            raise ModelError(f"the chat template is not valid Jinja ({error})") from None
        self.traits = probe_traits(self._adapt_and_run, writes_calls=self._write_calls is not None)

    def render(self, messages: list[Message], tools: list[Tool] | None, instruction: str = "") -> str:
        """Renders the text of a prompt up to the beginning of the assistant's turn.

        Args:
            messages: the conversation, as `template_messages` makes it.
            tools: the functions that the model may call, if any.
            instruction: text that is added to the system message.

        Raises:
            ChatError: 400 on the message or tool that the template refuses or drops.
        """
        try:
            text = self._render(messages, tools, instruction)
        except ChatError:
            raise
        except Exception as error:  # templates are programs, which may raise anything
            raise refusal(error, partial(self._render, instruction=instruction), messages, tools) from None
        for index in late_system_messages(messages, text):
            if self._drops(index, messages, tools, instruction):
                raise dropped(index)
        return text

    def _drops(self, index: int, messages: list[Message], tools: list[Tool] | None, instruction: str) -> bool:
        """Returns whether the template leaves out a message, whatever its text. Some only change the text."""
        changed = [*messages]
        changed[index] = messages[index] | {"content": PROBE}
        try:
            return PROBE not in self._render(changed, tools, instruction)
        except Exception:  # the template reads the message, as it refuses this text
            return False

    def _render(self, messages: list[Message], tools: list[Tool] | None, instruction: str = "") -> str:
        """Renders a conversation. Moves a system message that the template drops into the first user message."""
        adapted, functions = self._adapt(self.traits, messages, tools, instruction)
        run = partial(self._run, parts=self.traits.content_parts)
        text = run(adapted, functions)
        if not adapted or adapted[0]["role"] != "system" or adapted[0]["content"].strip() in text:
            return text
        if _FIRST in run([adapted[0] | {"content": _FIRST}, *adapted[1:]], functions):
            return text
        return run(fold_system(adapted), functions)

    def _adapt_and_run(self, traits: TemplateTraits, messages: list[Message], tools: list[Tool] | None) -> str:
        return self._run(*self._adapt(traits, messages, tools), parts=traits.content_parts)

    def _adapt(
        self, traits: TemplateTraits, messages: list[Message], tools: list[Tool] | None, instruction: str = ""
    ) -> tuple[list[Message], list[Tool] | None]:
        return adapt(messages, tools, traits, self._write_calls, instruction)

    def _run(self, messages: list[Message], tools: list[Tool] | None, *, parts: bool) -> str:
        template = self._with_tools if tools else self._template
        messages = with_parts(messages) if parts else messages
        return template.render(
            messages=messages, tools=tools, documents=None, add_generation_prompt=True, **self._special_tokens
        )


class Generation(Extension):
    """A Jinja extension for `{% generation %}`, which marks assistant text for training. Renders the text unchanged."""

    tags = {"generation"}  # noqa: RUF012 - as the base class declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Returns the nodes up to the end of the block."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    """Returns the environment that `transformers` gives to templates."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda pattern: datetime.now().strftime(pattern)
    return environment


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)
