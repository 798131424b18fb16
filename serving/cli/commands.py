"""The commands of `jaxchat`, and the parser of their arguments. Imports a command's module when it is used."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module

from jaxchat.settings import advice
from serving.cli.command_parser import CommandParser

COMMANDS = {
    "chat": "chat in the terminal",
    "serve": "serve a model over gRPC and REST",
    "rest": "serve REST in front of a gRPC server in another process",
    "batch": "answer a file of requests in OpenAI's batch format",
    "replay": "ask a recorded request again and compare the answers",
    "bench": "measure latency and throughput of a server",
    "models": "list models that can be served",
    "convert": "convert a model to the Orbax format",
    "plan": "estimate memory and speed of a model on TPUs or GPUs",
    "keys": "make an API key",
}
"""Descriptions of the commands by name. The command `x` is the module `serving.cli.x`."""
_LINES = "\n".join(f"  {name:<10}{text}" for name, text in COMMANDS.items())
_OVERVIEW = f"""\
Chat completions from JAX over gRPC and REST.

commands:
{_LINES}

examples:
  jaxchat chat "What is 47 + 38?"        asks the small model that comes with jaxchat
  jaxchat serve --model path/to/model    serves a model to OpenAI's clients at http://localhost:8000/v1

flags:
  --help      show the flags of a command, as in `jaxchat serve --help`
  --version   show the version
"""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Returns the parsed arguments, `args`. `args.run(args)` runs the command and returns the exit status.

    Raises:
        ModuleNotFoundError: a package that the command needs is not installed.
        SystemExit: with status 2 for wrong usage, or 0 after `--help` or `--version` has printed. Without arguments,
            `--help` is assumed.
    """
    words = list(argv) or ["--help"]
    if words[0] == "help":
        words = [*words[1:2], "--help"]
    name = next((word for word in words if not word.startswith("-")), None)
    if name is not None and name not in COMMANDS:
        parser([]).error(f"unknown command {name}{advice(name, COMMANDS, str)}")
    if name is None:
        root = parser([])
        root.refuse_unknown_flags(words)
        return root.parse_args(words)
    root = parser([name])
    args, unknown = root.parse_known_args(words)
    args.parser.refuse_unknown(unknown)
    return args


def parser(names: Sequence[str] = tuple(COMMANDS)) -> CommandParser:
    """Returns the parser of the command line, with the commands `names`."""
    root = CommandParser(
        prog="jaxchat", usage="jaxchat COMMAND [FLAG ...]", description=_OVERVIEW, add_help=False, lists="commands"
    )
    root.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
    root.add_argument("--version", action=_Version, nargs=0, help=argparse.SUPPRESS)
    commands = root.add_subparsers(required=True, metavar="COMMAND", prog="jaxchat", help=argparse.SUPPRESS)
    for name in names:
        module = import_module(f"serving.cli.{name}")
        command: CommandParser = commands.add_parser(name, description=module.__doc__)
        module.add_arguments(command)
        command.shorten_usage()
        command.set_defaults(run=module.run, parser=command)
    return root


class _Version(argparse.Action):
    """An action that prints the version of jaxchat. Looks the version up only on use, because that takes a while."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import version

        print(f"{parser.prog} {version('jaxchat')}")
        parser.exit()
