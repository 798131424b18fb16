"""Builds and tries out a release: `python -m tools.release`, or with series of Python such as 3.12.

Builds the wheel and the source distribution into `dist/` and checks their contents. Then, for each Python, installs the
wheel into clean environments outside the repository, asks one question by `jaxchat chat`, over REST with the openai
package and over gRPC with a client that has no jax, and compares the answers. Prints a table. The exit status is 1 if
something is wrong or a Python is missing.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from tools.release import uses
from tools.release.distributions import (
    ROOT,
    build,
    megabytes,
    package_files,
    report,
    source_problems,
    wheel_problems,
)
from tools.release.installs import find_python, install

SERIES = tuple(sorted(path.stem for path in (ROOT / "constraints").glob("3.*.txt")))


@dataclass(frozen=True)
class Trial:
    """A row of the table: how the wheel did on one Python. `result` is "passed" or what failed."""

    python: str
    jax: str
    install: str  # seconds
    environment: str  # MB
    client: str  # MB, of the environment of the client alone
    result: str


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__.split("\n")[0])
    parser.add_argument("series", nargs="*", choices=[*SERIES, []], metavar="SERIES", help="of Python; default: all")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "dist", metavar="FOLDER", help="folder for the distributions"
    )
    args = parser.parse_args(argv)
    shutil.rmtree(args.out, ignore_errors=True)
    wheel, source = build(args.out)
    expected = package_files()
    problems = {wheel: wheel_problems(wheel, expected), source: source_problems(source, expected)}
    print(report(problems), flush=True)
    if any(problems.values()):
        return 1
    trials = []
    for series in args.series or SERIES:
        trials.append(attempt(series, wheel))
        print(f"Python {series}: {trials[-1].result}", flush=True)
    print(table(trials))
    return int(any(trial.result != "passed" for trial in trials))


def attempt(series: str, wheel: Path) -> Trial:
    """Installs and uses a wheel with one Python. A failure becomes the result."""
    python = find_python(series)
    if python is None:
        return Trial(series, "-", "-", "-", "-", "this Python is not installed")
    with tempfile.TemporaryDirectory(prefix="jaxchat-release-") as folder:
        try:
            return _trial(series, python, wheel, Path(folder))
        except RuntimeError as error:
            return Trial(series, "-", "-", "-", "-", str(error))


def _trial(series: str, python: str, wheel: Path, folder: Path) -> Trial:
    client = install(python, wheel, folder / "client", client_alone=True)
    whole = install(python, wheel, folder / "whole")
    version = whole.run(whole.command, "--version")
    answers = {"jaxchat chat": uses.ask_in_terminal(whole)}
    with uses.serving(whole) as server:
        answers["REST"] = uses.ask_over_rest(server)
        answers["gRPC"] = uses.ask_over_grpc(client, server)
    checks = {
        f"--version prints {version!r}": whole.version("jaxchat") in version,
        "the client does not name the engine": uses.engine_is_named(client),
        f"answers differ: {answers}": len(set(answers.values())) == 1 and all(answers.values()),
    }
    failures = [complaint for complaint, passed in checks.items() if not passed]
    sizes = megabytes(whole.size()), megabytes(client.size())
    return Trial(series, whole.version("jax"), f"{whole.seconds:.0f}", *sizes, "; ".join(failures) or "passed")


def table(trials: Sequence[Trial]) -> str:
    """Returns a Markdown table with a row for each trial."""
    head = ("Python", "jax", "install, s", "environment, MB", "client alone, MB", "result")
    assert len(head) == len(fields(Trial))
    rows = [head, ("---",) * len(head), *map(astuple, trials)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
