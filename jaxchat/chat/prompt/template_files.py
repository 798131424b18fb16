"""Reads a model's chat template from the files in which models store it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.errors import ModelError, safe_repr
from jaxchat.model_directory import read_if_there, read_text


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
