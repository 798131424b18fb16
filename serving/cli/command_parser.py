"""A parser of arguments whose errors are short and name the most similar flag."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

from jaxchat.settings import advice


class CommandParser(argparse.ArgumentParser):
    """A parser of command lines that can show its usage in one line; see `shorten_usage`.

    A parser without subcommands refuses unknown flags that begin with `--` before it looks at anything else.

    Args:
        lists: what `--help` lists, such as "flags" or "commands". Errors end with a hint that has this word.
        settings: arguments of `argparse.ArgumentParser`.
    """

    def __init__(self, *, lists: str = "flags", **settings: Any) -> None:
        super().__init__(**{"formatter_class": _Paragraphs, "allow_abbrev": False, **settings})
        self._lists = lists

    def shorten_usage(self) -> None:
        """Leaves only positional arguments and required flags in the usage, because the help lists all flags."""
        formatter = self._get_formatter()
        shown = [action for action in self._actions if action.required or not action.option_strings]
        formatter.add_usage(None, shown, [], prefix="")
        self.usage = f"{formatter.format_help().strip()} [FLAG ...]".replace("%", "%%")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses arguments as `argparse` does, after a check of the names of flags."""
        words = sys.argv[1:] if args is None else list(args)
        if self._subparsers is None:
            self.refuse_unknown_flags(words)
        return super().parse_known_args(words, namespace)

    def refuse_unknown_flags(self, words: Sequence[str]) -> None:
        """Exits with status 2 at the first word that names a flag which does not exist. Names the most similar flag.

        Only words that begin with `--` name flags, up to the word `--`. The name ends before "=", and has no space.
        """
        for word in words:
            flag = word.partition("=")[0]
            if word == "--":
                return
            if flag.startswith("--") and " " not in flag and flag not in self._option_string_actions:
                known = [_name(each) for each in self._option_string_actions]
                self.error(f"unknown flag {flag}{advice(_name(flag), known, _flag)}")

    def refuse_unknown(self, words: Sequence[str]) -> None:
        """Exits with status 2 if there are unknown arguments: `words`, as `parse_known_args` returns them."""
        if not words:
            return
        kind = "unknown flag" if words[0].startswith("-") else "unexpected argument:"
        hint = f": did you mean --model {words[0]}?" if "--model" in self._option_string_actions else ""
        self.error(f"{kind} {words[0]}{hint if kind.endswith(':') else ''}")

    def error(self, message: str) -> NoReturn:
        """Prints the usage and the message to standard error, and exits with status 2."""
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: error: {message}\n`{self.prog} --help` lists the {self._lists}.\n")


class _Paragraphs(argparse.HelpFormatter):
    """A formatter that wraps each paragraph of a description, and leaves those with indented lines as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip().split("\n\n")
        return "\n\n".join(each if "\n  " in each else textwrap.fill(each, width) for each in paragraphs)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _name(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")
