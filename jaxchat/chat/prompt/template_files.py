"""Reads a model's chat template from the files in which models store it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from jaxchat.chat.prompt.special_tokens import read_special_tokens
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.template_variables import utc_today
from jaxchat.errors import ModelError, safe_repr
from jaxchat.model_directory import read_if_there, read_text


def load_template(
    directory: Path,
    tool_format: str = "auto",
    reasoning_format: str = "auto",
    kwargs: Mapping[str, Any] | None = None,
    today: Callable[[], date] = utc_today,
) -> ChatTemplate:
    """Reads a model's chat template, and a separate template for requests with tools, if there is one.

    The template is read from the first of these places that has a template: the file `chat_template.jinja`, the key
    `chat_template` of `tokenizer_config.json`, and the key `chat_template` of `chat_template.json`. The template for
    requests with tools has the name "tool_use" in the folder `additional_chat_templates` or in `tokenizer_config.json`.
    If `chat_template.json` is read, the template for requests with tools may also be in this file.

    Args:
        directory: the model.
        tool_format: name of the tool format, or "auto" to detect it.
        reasoning_format: name of the reasoning format, "auto" to detect it, or "none" to treat thoughts as text.
        kwargs: the operator's values of template variables, JSON data by name.
        today: returns the day for templates that read the current day.

    Raises:
        ModelError: the directory has no template or an unusable one, or a JSON file is invalid.
        RegistryError: no format has the given name, a format that is tried cannot be imported, or a reasoning format
            that is tried has no method `splitter`.
        ValueError: the operator may not set a variable, or the template never reads it.
    """
    file, named = _stored(directory)
    try:
        return ChatTemplate(
            named["default"],
            read_special_tokens(directory),
            with_tools=named.get("tool_use"),
            tool_format=tool_format,
            reasoning_format=reasoning_format,
            kwargs=kwargs,
            today=today,
        )
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from None


def _stored(directory: Path) -> tuple[Path, dict[str, str]]:
    """Returns the file with the default template, and the templates by their names.

    Raises:
        ModelError: the model lacks a default template, or a file is invalid.
    """
    file, config_file = directory / "chat_template.jinja", directory / "tokenizer_config.json"
    named = _named(config_file, read_if_there(config_file).get("chat_template"))
    additional = sorted((directory / "additional_chat_templates").glob("*.jinja"))
    named |= {path.stem: read_text(path) for path in additional}
    if file.exists():
        return file, named | {"default": read_text(file)}
    if not named.get("default"):
        config_file = directory / "chat_template.json"
        named = _named(config_file, read_if_there(config_file).get("chat_template")) | named
    if not named.get("default"):
        raise ModelError(
            f"{directory}: neither chat_template.jinja, nor a chat_template in tokenizer_config.json or "
            "chat_template.json"
        )
    return config_file, named


def _named(file: Path, stored: Any) -> dict[str, str]:
    """Returns the templates of a `chat_template` by their names. Raises ModelError for malformed entries."""
    if not stored or isinstance(stored, str):
        return {"default": stored} if stored else {}
    if isinstance(stored, dict):
        stored = [{"name": name, "template": template} for name, template in stored.items()]
    if not isinstance(stored, list):
        raise ModelError(f"{file}: chat_template must be a string, got {safe_repr(stored)}")
    for entry in stored:
        fields = [entry.get(key) for key in ("name", "template")] if isinstance(entry, dict) else []
        if not fields or not all(isinstance(field, str) for field in fields):
            raise ModelError(f"{file}: chat_template must list objects with name and template, got {safe_repr(entry)}")
    return {entry["name"]: entry["template"] for entry in stored}
