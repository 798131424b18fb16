"""The entry point of the command `jaxchat`. Imports only light modules, so that `--help` is quick."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from jaxchat.errors import ChatError, ModelError
from serving.cli.extras import missing_package

try:
    from serving.cli import batch, bench, chat, convert, keys, models, plan, replay, rest, serve
    from serving.cli.flags import refuse_unknown
except ModuleNotFoundError as error:
    if (line := missing_package(error)) is None:
        raise
    sys.exit(line)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status.

    The status is 0 after success, 1 after a failure, 130 after Ctrl-C and 141 after the reader closed the pipe. Raises
    SystemExit with status 2 for wrong usage.
    """
    args, unknown = _parser().parse_known_args(argv)
    refuse_unknown(args.parser, unknown)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader closed the pipe, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise the flush at exit fails again
        return 141  # the status of a process ended by SIGPIPE
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        if (line := missing_package(error)) is None:
            raise
        print(line, file=sys.stderr)
        return 1
    except (ChatError, ModelError, OSError, ValueError) as error:
        print(f"jaxchat: {error}", file=sys.stderr)
        return 1


class _Version(argparse.Action):
    """An action that prints the version of jaxchat. Looks the version up only on use, because that takes a while."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import version

        print(f"{parser.prog} {version('jaxchat')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jaxchat", description="Chat completions from JAX over gRPC and REST.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module, name, text in (
        (serve, "serve", "serve a model over gRPC and REST"),
        (rest, "rest", "serve REST in front of a gRPC server in another process"),
        (chat, "chat", "chat in the terminal"),
        (batch, "batch", "answer a file of requests in OpenAI's batch format"),
        (replay, "replay", "ask a recorded request again and compare the answers"),
        (bench, "bench", "measure latency and throughput of a server"),
        (models, "models", "list models that can be served"),
        (convert, "convert", "convert a model to the Orbax format"),
        (plan, "plan", "estimate memory and speed of a model on TPUs or GPUs"),
        (keys, "keys", "make an API key"),
    ):
        command = commands.add_parser(name, help=text, description=module.__doc__, allow_abbrev=False)
        module.add_arguments(command)
        command.set_defaults(run=module.run, parser=command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
