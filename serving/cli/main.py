"""The entry point of the command `jaxchat`.

Importing this module loads almost nothing, so that Ctrl-C is handled from the first moment on.
"""

from __future__ import annotations

import os
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status.

    The status is 0 after success, 1 after a failure, 130 after Ctrl-C and 141 after the reader closed the pipe. Raises
    SystemExit with status 2 for wrong usage.
    """
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except BrokenPipeError:  # the reader closed the pipe, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise the flush at exit fails again
        return 141  # the status of a process ended by SIGPIPE
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # another Ctrl-C must not print a traceback
        if sys.stderr.isatty():
            print(file=sys.stderr)  # the shell's prompt goes below what the terminal shows as ^C
        return 130


def _run(argv: Sequence[str]) -> int:
    from jaxchat.errors import ChatError, ModelError
    from serving.cli.commands import parse
    from serving.cli.extras import missing_package

    try:
        args = parse(argv)
        status: int = args.run(args)
        return status
    except ModuleNotFoundError as error:
        if (line := missing_package(error)) is None:
            raise
        print(line, file=sys.stderr)
        return 1
    except BrokenPipeError:
        raise
    except (ChatError, ModelError, OSError, ValueError) as error:
        print(f"jaxchat: {error}", file=sys.stderr)
        return 1
    finally:
        sys.stdout.flush()


def _parser() -> ArgumentParser:
    from serving.cli.commands import parser

    return parser()


if __name__ == "__main__":
    sys.exit(main())
