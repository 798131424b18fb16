"""The reference of the command line, made from the parsers that print `--help`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from serving.cli import main
from tools.docs.docstrings import markdown_of

INTRODUCTION = """\
# Command line and settings

This page has the text of `jaxchat COMMAND --help`. [Operations](../operations.md#settings) says how settings are
written and checked, and what they are called in Python.
"""


def command_line_page() -> str:
    """Returns the page of all commands with their flags.

    A group of flags is listed at the first command that has it. Later commands refer to that list.
    """
    lines, known = [INTRODUCTION], dict[str, str]()
    for name, parser in commands().items():
        lines += [f"## jaxchat {name}", "", markdown_of(parser.description), ""]
        for group in parser._action_groups:
            rows = list(flags(group))
            if not rows:
                continue
            text = "\n".join(["| flag | |", "|---|---|", *rows])
            title = str(group.title)
            if text in known:
                anchor = known[text].replace(" ", "-")
                lines += [f"The flags under “{title}” are those of [{known[text]}](#{anchor}).", ""]
                continue
            known[text] = f"jaxchat {name}"
            lines += [f"### {name}: {title}", "", text, ""]
    return "\n".join(lines)


def commands() -> dict[str, argparse.ArgumentParser]:
    """Returns the parser of each command of `jaxchat`."""
    for action in main._parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise LookupError("jaxchat has no commands")


def flags(group: argparse._ArgumentGroup) -> Iterator[str]:
    """Yields a row of a table for each flag of a group."""
    for action in group._group_actions:
        if isinstance(action, argparse._HelpAction) or action.help is argparse.SUPPRESS:
            continue
        value = _value(action)
        names = ", ".join(f"`{name}{value}`" for name in action.option_strings) or f"`{value.strip()}`"
        yield f"| {names} | {cell(str(action.help or '') % {'default': action.default})} |"


def cell(text: str) -> str:
    """Returns plain text as the cell of a table."""
    for character in "\\`*_<|":
        text = text.replace(character, f"\\{character}")
    return text


def _value(action: argparse.Action) -> str:
    if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction):
        return ""
    name = action.metavar or (f"{{{','.join(map(str, action.choices))}}}" if action.choices else action.dest.upper())
    many = " ..." if action.nargs in ("*", "+") else ""
    return f" {name}{many}"
