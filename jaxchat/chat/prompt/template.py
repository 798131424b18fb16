"""Renders the model's chat template, a Jinja program, in a sandbox as `transformers` does."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jaxchat.chat.response.reasoning import find_reasoning_format
from jaxchat.chat.tools.format import find_tool_format
from jaxchat.errors import ModelError, invalid, safe_repr
from jaxchat.model_directory import read_if_there, read_text


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
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = lambda pattern: datetime.now().strftime(pattern)
        self.source = source + (with_tools or "")
        self.tool_format = find_tool_format(tool_format, self.source)
        self.reasoning_format = find_reasoning_format(reasoning_format, self.source)
        self._special_tokens = special_tokens
        try:
            self._template = environment.from_string(source)
            self._with_tools = environment.from_string(with_tools) if with_tools else self._template
        except jinja2.TemplateError as error:
            raise ModelError(f"the chat template is not valid Jinja ({error})") from None
        self.shows_names = self._shows_names()

    def render(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str:
        """Renders the text of a prompt up to the beginning of the assistant's turn.

        Raises:
            ChatError: 400 on `messages` if the template rejects the conversation.
        """
        try:
            template = self._with_tools if tools else self._template
            messages = [{key: value for key, value in message.items() if value is not None} for message in messages]
            return template.render(
                messages=messages, tools=tools, documents=None, add_generation_prompt=True, **self._special_tokens
            )
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise invalid("messages", f"The model's chat template refuses these messages: {error}") from None

    def _shows_names(self) -> bool:
        probe = [{"role": "user", "content": "text", "name": "probed_name"}]
        try:
            return "probed_name" in self._template.render(messages=probe, tools=None, **self._special_tokens)
        except (jinja2.TemplateError, TypeError, ValueError):
            return False


class Generation(Extension):
    """A Jinja extension for `{% generation %}`, which marks assistant text for training. Renders the text unchanged."""

    tags = {"generation"}  # noqa: RUF012 - as the base class declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Returns the nodes up to the end of the block."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def load_template(directory: Path, tool_format: str = "auto", reasoning_format: str = "auto") -> ChatTemplate:
    """Reads `chat_template.jinja`, or the template in `tokenizer_config.json`.

    Raises:
        ModelError: the directory has no template, or an unusable one.
        RegistryError: no format has the given name.
    """
    config, file = read_if_there(directory / "tokenizer_config.json"), directory / "chat_template.jinja"
    source: Any = read_text(file) if file.exists() else config.get("chat_template")
    file = file if file.exists() else directory / "tokenizer_config.json"
    named = _named(file, source) if isinstance(source, list) else {"default": source}
    source, with_tools = named.get("default"), named.get("tool_use")
    if not source:
        raise ModelError(f"{directory}: neither chat_template.jinja nor a chat_template in tokenizer_config.json")
    if not isinstance(source, str):
        raise ModelError(f"{file}: chat_template must be a string, got {safe_repr(source)}")
    try:
        return ChatTemplate(
            source,
            dict(_special_tokens(config)),
            with_tools=with_tools,
            tool_format=tool_format,
            reasoning_format=reasoning_format,
        )
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from None


def _named(file: Path, entries: list[Any]) -> dict[str, str]:
    """Returns several templates by their names. Raises ModelError for malformed entries."""
    for entry in entries:
        fields = [entry.get(key) for key in ("name", "template")] if isinstance(entry, dict) else []
        if not fields or not all(isinstance(field, str) for field in fields):
            raise ModelError(f"{file}: chat_template must list objects with name and template, got {safe_repr(entry)}")
    return {entry["name"]: entry["template"] for entry in entries}


def _special_tokens(config: dict[str, Any]) -> list[tuple[str, str]]:
    tokens = []
    for key in ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"):
        value = config.get(key)
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str):
            tokens.append((key, value))
    return tokens


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)
