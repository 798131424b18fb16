"""Finds chat templates in folders, and writes each as the directory of a model for jaxchat and `transformers`."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

_MARKER = re.compile(
    r"<\|[^|<>\s'\"]{1,40}\|>|<｜[^｜<>\s'\"]{1,40}｜>|\[/?[A-Z][A-Z_]{2,30}\]|</?s>|<(?:start|end)_of_turn>"
)
"""Spellings that look like control tokens where a template writes them."""
_TOKEN = re.compile(r"\b(?:bos|eos|unk|pad)_token\b")
_COPIED = ("special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "tokenizer.json")


@dataclass(frozen=True)
class Source:
    """A chat template. `path` is the template's file, or the directory of its model."""

    name: str
    path: Path


def find_sources(folders: list[Path]) -> list[Source]:
    """Returns the templates of some folders: `*.jinja`, and directories of models with a chat template.

    Raises:
        FileNotFoundError: a folder does not exist, or holds no template.
    """
    return [source for folder in folders for source in _in_folder(folder)]


def write_model(source: Source, directory: Path) -> None:
    """Writes a new directory with the chat template and the tokenizer of a source.

    If the source has no `tokenizer.json`, writes one with a token for each byte and for the template's control tokens.
    """
    directory.mkdir(parents=True)
    config: dict[str, Any] = {}
    if source.path.is_dir():
        config = json.loads((source.path / "tokenizer_config.json").read_text("utf-8"))
        for name in _COPIED:
            if (source.path / name).exists():
                shutil.copyfile(source.path / name, directory / name)
        if (source.path / "additional_chat_templates").exists():
            shutil.copytree(source.path / "additional_chat_templates", directory / "additional_chat_templates")
    else:
        shutil.copyfile(source.path, directory / "chat_template.jinja")
    text = _template_text(directory, config)
    if not source.path.is_dir():
        config = {name: f"<|{name}|>" for name in sorted(set(_TOKEN.findall(text)))}
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    markers = list(dict.fromkeys(_MARKER.findall(text)))
    if not (directory / "tokenizer.json").exists():
        config.pop("added_tokens_decoder", None)  # its ids are those of the missing tokenizer
        named = [value for key, value in config.items() if key.endswith("_token")]
        named = [value["content"] if isinstance(value, dict) else value for value in named]
        tokens = list(dict.fromkeys([*(name for name in named if isinstance(name, str)), *markers]))
        (directory / "tokenizer.json").write_text(byte_tokenizer(tokens or ["<|none|>"]).to_str(), "utf-8")
    (directory / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")


def byte_tokenizer(special: list[str]) -> Tokenizer:
    """Returns a tokenizer with a token for each byte, and special tokens with the spellings `special`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({char: index for index, char in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    return tokenizer


def _in_folder(folder: Path) -> list[Source]:
    if _is_model(folder):
        return [Source(folder.name, folder)]
    files = [Source(path.stem, path) for path in sorted(folder.glob("*.jinja"))]
    models = [Source(path.name, path) for path in sorted(folder.glob("*/")) if _is_model(path)]
    if not files and not models:
        raise FileNotFoundError(f"{folder}: neither *.jinja nor a model with a chat template")
    return [*files, *models]


def _is_model(folder: Path) -> bool:
    """Returns whether a folder is the directory of a model with a chat template."""
    config = folder / "tokenizer_config.json"
    if not config.exists():
        return False
    return (folder / "chat_template.jinja").exists() or "chat_template" in json.loads(config.read_text("utf-8"))


def _template_text(directory: Path, config: dict[str, Any]) -> str:
    """Returns the sources of all chat templates in a model's directory and configuration, one after another."""
    files = [directory / "chat_template.jinja", *sorted(directory.glob("additional_chat_templates/*.jinja"))]
    texts = [path.read_text("utf-8") for path in files if path.exists()]
    return "\n".join([*texts, *_strings(config.get("chat_template"))])


def _strings(stored: Any) -> Iterator[str]:
    if isinstance(stored, str):
        yield stored
    elif isinstance(stored, list):
        yield from (entry["template"] for entry in stored)
