"""Command-line flags made from the configuration classes, so that each setting is documented once.

The word `none`, in lower or upper case, means None for every setting that may be None.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import Field, fields
from typing import Any, Literal, TypeVar, get_args, get_origin

from jaxchat.settings import setting_types, without_none

Config = TypeVar("Config")
NONE = "none"
NOTE = f"The word {NONE} turns off what a setting marked |{NONE} is for."


def add_flags(parser: argparse.ArgumentParser, config: type, title: str, only: Collection[str] = ()) -> None:
    """Adds a `--kebab-name` flag for each setting of a configuration class.

    Args:
        parser: receives the flags.
        config: the configuration class.
        title: heading of the flags in the help.
        only: names of the settings to add, in that order; empty for all.
    """
    parser.epilog = NOTE
    group = parser.add_argument_group(title)
    types = setting_types(config)
    by_name = {field.name: field for field in fields(config)}
    for name in only or by_name:
        field = by_name[name]
        options = _reader(field, *without_none(types[field.name]))
        group.add_argument(_flag(field.name), dest=field.name, default=field.default, help=_help(field), **options)


def add_sections(
    parser: argparse.ArgumentParser,
    config: type,
    sections: Mapping[str, Sequence[str]],
    other: str,
    without: Collection[str] = (),
) -> None:
    """Adds the flags of a configuration class, grouped by subject.

    Args:
        parser: receives the flags.
        config: the configuration class.
        sections: the names of settings by the heading of their group in the help.
        other: heading of the settings that are in none of the sections.
        without: names of settings that get no flag.
    """
    for title, names in sections.items():
        add_flags(parser, config, title, only=names)
    listed = {name for names in (*sections.values(), without) for name in names}
    if others := [field.name for field in fields(config) if field.name not in listed]:
        add_flags(parser, config, other, only=others)


def from_flags(args: argparse.Namespace, config: type[Config], **fixed: Any) -> Config:
    """Returns the configuration that the flags describe. Raises ValueError if a value is not allowed.

    Args:
        args: the parsed flags.
        config: the configuration class.
        fixed: values of settings whose flags are not read.
    """
    names = [field.name for field in fields(config) if field.name not in fixed]  # type: ignore[arg-type]
    return config(**{name: _value(getattr(args, name)) for name in names}, **fixed)


def to_flags(config: Any) -> list[str]:
    """Returns the flags that describe a configuration. Omits settings that have their default."""
    flags = []
    for field in fields(config):
        value, flag = getattr(config, field.name), _flag(field.name)
        if value == field.default:
            continue
        if isinstance(value, bool):
            flags.append(flag if value else _flag(f"no_{field.name}"))
        else:
            flags += [flag, *(map(_text, value) if isinstance(value, tuple) else [_text(value)])]
    return flags


def optional(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Returns a converter for argparse that turns `none` into None and passes other words to `kind`."""

    def convert(text: str) -> Any:
        return None if text.lower() == NONE else kind(text)

    convert.__name__ = kind.__name__  # argparse names it in messages: "invalid int value"
    return convert


def _reader(field: Field[Any], kind: Any, none: bool) -> dict[str, Any]:
    """Returns the argparse options of a flag for `kind`, a type. With `none`, the flag also accepts the word `none`."""
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(kind) is tuple:
        return {**_reader(field, get_args(kind)[0], none), "nargs": "*"}
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        if none:
            return {"type": optional(str), "choices": (*choices, None), "metavar": f"{{{','.join((*choices, NONE))}}}"}
        return {"choices": choices}
    turns_off = f"|{NONE}" if none and field.default is not None else ""
    return {"type": optional(kind) if none else kind, "metavar": field.metadata["metavar"] + turns_off}


def _help(field: Field[Any]) -> str:
    default = field.metadata["default_text"] or _shown(field.default)
    return f"{field.metadata['help']} (default: {default})".replace("%", "%%")


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    if default == ():
        return NONE
    return f"{default:g}" if isinstance(default, float) else _text(default)


def _value(value: Any) -> Any:
    """Converts a value from argparse to the value of a setting: [None] becomes None, another list a tuple.

    Raises ValueError for a list with None and other values.
    """
    if not isinstance(value, list):
        return value
    if None in value and len(value) > 1:
        raise ValueError(f"'{NONE}' cannot stand beside other values")
    return None if value == [None] else tuple(value)


def _text(value: Any) -> str:
    return NONE if value is None else str(value)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
