"""Command-line flags from the frozen dataclasses of `jaxchat.config`, so that a setting is documented once."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import fields
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Config = TypeVar("Config")


def add_flags(parser: argparse.ArgumentParser, config: type, title: str, only: Collection[str] = ()) -> None:
    """Adds a `--kebab-name` flag for each field of the dataclass `config`, or for those in `only`."""
    group = parser.add_argument_group(title)
    types = get_type_hints(config)
    for field in fields(config):
        if only and field.name not in only:
            continue
        text = f"{field.metadata['help']} (default: {field.default!r})".replace("%", "%%")
        flag = "--" + field.name.replace("_", "-")
        options: dict[str, Any] = {"dest": field.name, "default": field.default, "help": text}
        group.add_argument(flag, **options, **_reader(types[field.name]))


def from_flags(args: argparse.Namespace, config: type[Config]) -> Config:
    """The dataclass that the flags describe. Raises ValueError where it finds a value out of bounds."""
    given = {field.name: getattr(args, field.name) for field in fields(config)}  # type: ignore[arg-type]
    return config(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def to_flags(config: Any) -> list[str]:
    """The flags that describe a dataclass of settings, but for those that have their default."""
    flags = []
    for field in fields(config):
        value, name = getattr(config, field.name), field.name.replace("_", "-")
        if value == field.default:
            continue
        if isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--no-{name}")
        else:
            flags += [f"--{name}", *(map(str, value) if isinstance(value, tuple) else [str(value)])]
    return flags


def _reader(kind: Any) -> dict[str, Any]:
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(kind) is Literal:
        return {"choices": get_args(kind)}
    if get_origin(kind) is tuple:
        return {**_reader(get_args(kind)[0]), "nargs": "*"}
    return {"type": kind, "metavar": kind.__name__.upper()}
