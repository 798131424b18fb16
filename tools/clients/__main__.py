"""Drives a server with the clients that people use: `python -m tools.clients`, or with names of clients.

Starts one server with the bundled model. Installs the clients into folders, which stay for the next run. Each client's
program in `tests/clients` then runs against the server. Prints the output of programs that fail, and a table. The exit
status is 1 if a client failed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.bench.report import put
from tools.clients.definitions import CLIENTS, ROOT, ChatClient
from tools.clients.environments import environment_of
from tools.clients.results import Result, run, table
from tools.server_process import ServerProcess

FLAGS = ("--model", "bundled")


def select(names: Sequence[str]) -> list[ChatClient]:
    """Returns the clients with these names, or all clients if `names` is empty. Raises ValueError for other names."""
    known = {client.name: client for client in CLIENTS}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"unknown client {unknown[0]!r}: one of {', '.join(known)}")
    return [known[name] for name in names] or list(CLIENTS)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.clients", description=__doc__.split("\n")[0])
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help="names of clients; default: all")
    parser.add_argument(
        "--cache", type=Path, default=ROOT / ".clients", metavar="FOLDER", help="folder for the environments"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this document")
    args = parser.parse_args(argv)
    try:
        clients = select(args.clients)
    except ValueError as error:
        parser.error(str(error))
    if args.write and args.clients:
        parser.error("--write needs the results of all clients")
    results = drive(clients, args.cache.resolve())
    print(table(results))
    if args.write:
        put(args.write, "clients", table(results))
    return int(not all(result.passed for result in results))


def drive(clients: Sequence[ChatClient], cache: Path) -> list[Result]:
    """Starts a server and runs the program of each client against it, one after the other.

    Installs the packages of the clients into `cache`. Prints a line for each client, and the output of programs that
    fail. Raises RuntimeError if the server does not start.
    """
    results = []
    with ServerProcess(*FLAGS) as server:
        for client in clients:
            environment = environment_of(client, CLIENTS, cache)
            result = run(client, environment, rest=server.rest, grpc=server.grpc, model=server.model)
            print(f"{client.name} {client.version}: {'passed' if result.passed else 'FAILED'}", flush=True)
            if not result.passed:
                print(result.output, flush=True)
            results.append(result)
    return results


if __name__ == "__main__":
    sys.exit(main())
