"""The model's own chat template, a Jinja program, rendered in a sandbox as `transformers` renders it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jaxchat.chat.tokenizer import read_json
from jaxchat.errors import ModelError, invalid


class ChatTemplate:
    """Renders messages and tools to the text of a prompt. Templates come from the operator, never from a request."""

    def __init__(self, source: str, special_tokens: dict[str, str]) -> None:
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = lambda pattern: datetime.now().strftime(pattern)
        self.source = source
        self._special_tokens = special_tokens
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise ModelError(f"the chat template is not valid Jinja ({error})") from None
        self.shows_names = self._shows_names()

    def render(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str:
        """The prompt, ending where the assistant's turn begins.

        Raises:
            ChatError: 400 on `messages` when the template refuses the conversation.
        """
        try:
            return self._template.render(
                messages=messages, tools=tools, add_generation_prompt=True, **self._special_tokens
            )
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise invalid("messages", f"The model's chat template refuses these messages: {error}") from None

    def _shows_names(self) -> bool:
        probe = [{"role": "user", "content": "text", "name": "probed_name"}]
        try:
            return "probed_name" in self._template.render(messages=probe, tools=None, **self._special_tokens)
        except (jinja2.TemplateError, TypeError, ValueError):
            return False


def load_template(directory: Path) -> ChatTemplate:
    """Reads `chat_template.jinja`, else the one in `tokenizer_config.json`. Raises ModelError when there is none."""
    config = read_json(directory / "tokenizer_config.json")
    file = directory / "chat_template.jinja"
    source = file.read_text("utf-8") if file.exists() else config.get("chat_template")
    if isinstance(source, list):  # several named ones
        source = {entry["name"]: entry["template"] for entry in source}.get("default")
    if not source:
        raise ModelError(f"{directory}: neither chat_template.jinja nor a chat_template in tokenizer_config.json")
    return ChatTemplate(source, dict(_special_tokens(config)))


def _special_tokens(config: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    for key in ("bos_token", "eos_token", "unk_token", "pad_token"):
        value = config.get(key)
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str):
            found.append((key, value))
    return found


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)
