"""Runs programs of clients, reads their reports, and writes the table."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tools.clients.definitions import ROOT, ChatClient
from tools.clients.environments import Environment

COLUMNS = ("plain", "streamed", "tools", "structured")
TIMEOUT = 300.0  # seconds for a whole program
QUIET = {  # clients must not call anything except the server
    "GRADIO_ANALYTICS_ENABLED": "False",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}
REPORT = re.compile(r"^check (\w+): (passed|failed)$", re.MULTILINE)


@dataclass(frozen=True)
class Result:
    """A report of a client's program.

    Attributes:
        client: the client.
        checks: whether each check passed, by name.
        passed: whether the program made at least one check, all passed, and the exit status was 0.
        output: what the program printed, or why the client could not be installed.
    """

    client: ChatClient
    checks: Mapping[str, bool]
    passed: bool
    output: str

    @property
    def row(self) -> tuple[str, ...]:
        """The cells of the client's row in the table. For a check that the client does not make, the cell is "-"."""
        words = {True: "yes", False: "**no**", None: "-"}
        further = [name for name in self.checks if name not in COLUMNS]
        return (
            self.client.name,
            self.client.version,
            *(words[self.checks.get(name)] for name in COLUMNS),
            ", ".join(name if self.checks[name] else f"**not {name}**" for name in further) or "-",
        )


def run(client: ChatClient, environment: Environment, *, rest: str, grpc: str, model: str) -> Result:
    """Installs a client and runs its program against a server. If either fails, the result has not passed.

    Args:
        client: the client.
        environment: the environment to install it into.
        rest: URL that ends in /v1.
        grpc: host:port.
        model: id of the model.
    """
    variables = {
        "JAXCHAT_URL": rest,
        "JAXCHAT_GRPC": grpc,
        "JAXCHAT_MODEL": model,
        "JAXCHAT_PROTO": str(ROOT / "proto"),
    }
    variables |= QUIET
    try:
        environment.install()
        done = subprocess.run(
            environment.command(client),
            cwd=environment.folder,
            env={**_without_settings(os.environ), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=TIMEOUT,
        )
    except (subprocess.CalledProcessError, OSError) as error:
        return Result(client, {}, False, f"cannot install: {error}")
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else error.stdout or ""
        return read(client, f"{output}\nended after {TIMEOUT:.0f} s", 1)
    return read(client, done.stdout, done.returncode)


def read(client: ChatClient, output: str, status: int) -> Result:
    """Returns the result of a program that ended. A program without any check has not passed.

    Args:
        client: the client that the program drives.
        output: what the program printed.
        status: exit status of the program.
    """
    checks = {name: verdict == "passed" for name, verdict in REPORT.findall(output)}
    return Result(client, checks, status == 0 and bool(checks) and all(checks.values()), output)


def table(results: Iterable[Result]) -> str:
    """Returns a Markdown table with a row for each client."""
    header = ("client", "version", *COLUMNS, "also")
    rows = [header, ("---",) * len(header), *(result.row for result in results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _without_settings(variables: Mapping[str, str]) -> dict[str, str]:
    """Returns `variables` without those that change what a program imports, or which server or proxy it uses."""
    unwanted = re.compile(r"PYTHON|OPENAI_|(?:https?|all)_proxy$", re.IGNORECASE)
    return {name: value for name, value in variables.items() if not unwanted.match(name)}
