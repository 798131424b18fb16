"""Reads the special tokens of a model and the added tokens that its `tokenizer.json` may lack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from jaxchat.errors import ModelError, safe_repr
from jaxchat.model_directory import read_if_there

_OPTIONS = ("special", "lstrip", "rstrip", "normalized", "single_word")


def read_special_tokens(directory: Path) -> dict[str, str]:
    """Returns the spellings of special tokens by the names that chat templates use, such as "eos_token".

    Reads `tokenizer_config.json`, and `special_tokens_map.json`, which older versions of `transformers` write.

    Raises:
        ModelError: a file is not a JSON object, or the spelling of its `eos_token` is not a string.
    """
    config = read_if_there(directory / "tokenizer_config.json")
    older = read_if_there(directory / "special_tokens_map.json")
    _check_end_token(directory / "tokenizer_config.json", config)
    _check_end_token(directory / "special_tokens_map.json", older)
    # The order of precedence is that of `transformers`.
    sources = [older, config] if "added_tokens_decoder" in config else [config, older]
    return dict(pair for source in sources for pair in _named_tokens(source))


def with_added_tokens(source: str, directory: Path) -> str:
    """Returns the text of a `tokenizer.json`, completed by added tokens that only other files list.

    Args:
        source: the text of the `tokenizer.json`.
        directory: the model.

    Raises:
        ModelError: a file is not a JSON object, or lists a token with an id that the tokenizer cannot assign.
    """
    listed = {**_older_added_tokens(directory), **_added_tokens(directory)}
    if not listed:
        return source
    present = {entry["content"] for entry in json.loads(source).get("added_tokens") or ()}
    missing = sorted((id_, content, token) for content, (id_, token) in listed.items() if content not in present)
    if not missing:
        return source
    tokenizer = Tokenizer.from_str(source)
    for id_, content, token in missing:
        tokenizer.add_tokens([token])
        if tokenizer.token_to_id(content) != id_:
            given = tokenizer.token_to_id(content)
            raise ModelError(f"{directory}: the added token {safe_repr(content)} has id {id_}, tokenizer.json: {given}")
    return tokenizer.to_str()


def _named_tokens(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    named = {key: value for key, value in config.items() if key.endswith("_token")}
    for key in ("extra_special_tokens", "model_specific_special_tokens"):
        extra = config.get(key)
        named |= extra if isinstance(extra, dict) else {}
    for key, value in named.items():
        spelling = _spelling(value)
        if isinstance(spelling, str):
            yield key, spelling


def _spelling(value: Any) -> Any:
    return value.get("content") if isinstance(value, dict) else value


def _check_end_token(file: Path, config: dict[str, Any]) -> None:
    token = config.get("eos_token")
    if not isinstance(_spelling(token), str | None):
        raise ModelError(f"{file}: eos_token must be a string or an object with content, got {safe_repr(token)}")


def _added_tokens(directory: Path) -> dict[str, tuple[int, AddedToken]]:
    """Returns the ids and tokens of `added_tokens_decoder` in `tokenizer_config.json`, by spelling."""
    listed = read_if_there(directory / "tokenizer_config.json").get("added_tokens_decoder")
    tokens = {}
    for id_, entry in (listed if isinstance(listed, dict) else {}).items():
        content = _spelling(entry)
        if isinstance(content, str) and id_.isdecimal():
            options = {key: bool(entry[key]) for key in _OPTIONS if key in entry} if isinstance(entry, dict) else {}
            tokens[content] = int(id_), AddedToken(content, **options)
    return tokens


def _older_added_tokens(directory: Path) -> dict[str, tuple[int, AddedToken]]:
    """Returns the ids and tokens of `added_tokens.json`, by spelling.

    The tokens that `read_special_tokens` returns are marked as special.
    """
    listed = read_if_there(directory / "added_tokens.json")
    special = set(read_special_tokens(directory).values()) if listed else set()
    return {
        content: (id_, AddedToken(content, special=content in special, normalized=content not in special))
        for content, id_ in listed.items()
        if isinstance(id_, int)
    }
