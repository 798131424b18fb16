"""Flags of `jaxchat serve` that say which models it serves, and under which names."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from jaxchat.config import ChatConfig, EngineConfig
from jaxchat.model_directory import model_id
from serving.cli.flags import add_sections, from_flags
from serving.cli.sections import REQUESTS
from serving.config import MultihostConfig, ServeConfig

_NAMES = next(field for field in fields(ChatConfig) if field.name == "served_model_name")


@dataclass(frozen=True)
class ModelChoice:
    """A model that an operator chose, with the settings of its requests."""

    model: str
    chat: ChatConfig

    @property
    def names(self) -> tuple[str, ...]:
        """The names that requests may use."""
        return self.chat.served_model_name or (model_id(self.model),)


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that name models, and the flags with settings of chat requests."""
    text = "model directory, GGUF file, hub id, or 'bundled' for the small model in the package (default: bundled)"
    group = parser.add_argument_group("models")
    group.add_argument("--model", action="append", help=f"{text}; give it once for each model to serve")
    text = f"{_NAMES.metadata['help']}; for several models give it once for each --model, in the same order"
    default = f"(default: {_NAMES.metadata['default_text']})"
    group.add_argument(
        "--served-model-name", action="append", nargs="+", metavar="NAME", default=[], help=f"{text} {default}"
    )
    add_sections(parser, ChatConfig, REQUESTS, "other settings of requests", without=(_NAMES.name,))


def models_from_flags(args: argparse.Namespace) -> list[ModelChoice]:
    """Returns the models that the flags name, at least one.

    Raises:
        ValueError: a setting is not allowed, a model lacks its `--served-model-name` while another has one, or two
            models have a name in common.
    """
    models, names = args.model or ["bundled"], args.served_model_name
    if names and len(names) != len(models):
        raise ValueError(
            f"--served-model-name belongs to one --model each: {len(models)} --model, {len(names)} --served-model-name"
        )
    chat = from_flags(args, ChatConfig, served_model_name=())
    chats = [replace(chat, served_model_name=tuple(each)) for each in names] or [chat] * len(models)
    choices = [ModelChoice(model, chat) for model, chat in zip(models, chats, strict=True)]
    _check_distinct(choices)
    return choices


def check_combination(
    models: Sequence[ModelChoice], serve: ServeConfig, engine: EngineConfig, multihost: MultihostConfig
) -> None:
    """Raises ValueError if there are several models and a setting allows only one."""
    if len(models) == 1:
        return
    if multihost.processes > 1:
        raise ValueError(f"processes {multihost.processes}: a multihost group serves one --model, got {len(models)}")
    if engine.tensor_parallel > 1:  # each device would begin the collectives of two engines in its own order
        raise ValueError(
            f"tensor_parallel {engine.tensor_parallel}: the collectives of several models could deadlock, "
            f"so only one --model is possible, got {len(models)}"
        )
    if serve.kv_events:
        raise ValueError(f"kv_events are those of one model, so they need one --model, got {len(models)}")


def _check_distinct(choices: Sequence[ModelChoice]) -> None:
    by_name: dict[str, str] = {}
    for choice in choices:
        for name in choice.names:
            if name in by_name:
                raise ValueError(
                    f"two models would have the name {name!r}: {by_name[name]} and {choice.model}; "
                    "--served-model-name gives them others"
                )
            by_name[name] = choice.model
