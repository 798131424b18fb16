"""Renders conversations with the chat template of the bundled model."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tools.training.sample import Message

SOURCE = (Path(__file__).parent / "chat_template.jinja").read_text("utf-8")


@cache
def _template() -> Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(SOURCE)


def render(messages: list[Message], tools: list[dict[str, Any]] | None = None, *, generate: bool = False) -> str:
    """Returns the text of a conversation. With `generate`, the text ends with the beginning of an assistant turn."""
    return _template().render(messages=messages, tools=tools or None, add_generation_prompt=generate)
