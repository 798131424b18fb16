"""Clean environments outside the repository, in which a wheel is installed and used as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ("grpcio", "grpcio-status", "protobuf")
"""The packages that a program needs which only calls a server."""
COMMAND_TIMEOUT = 900  # seconds; the first start compiles


@dataclass(frozen=True)
class Install:
    """A virtual environment with a wheel, and an empty home.

    Attributes:
        folder: the environment.
        home: the working folder of its programs, and their home.
        seconds: time that installing took.
    """

    folder: Path
    home: Path
    seconds: float

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    @property
    def command(self) -> str:
        """The command `jaxchat`."""
        return str(self.folder / "bin" / "jaxchat")

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its programs: this one's, with the empty home and without paths into the repository."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_"))}
        return {**clean, "HOME": str(self.home)}

    def run(self, *command: str) -> str:
        """Runs a program in the home and returns its standard output. Raises RuntimeError if it fails."""
        options = dict(cwd=self.home, env=self.environment, capture_output=True, text=True, timeout=COMMAND_TIMEOUT)
        result = subprocess.run(command, check=False, **options)
        if result.returncode:
            raise RuntimeError(f"`{' '.join(command)}` failed:\n{result.stdout}{result.stderr}")
        return result.stdout

    def version(self, package: str) -> str:
        """Returns the version of a package in the environment."""
        return self.run(
            self.python, "-c", f"from importlib.metadata import version; print(version({package!r}))"
        ).strip()

    def size(self) -> int:
        """Returns the bytes that the environment occupies."""
        files = (path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink())
        return sum(path.stat().st_blocks * 512 for path in files)


def find_python(series: str) -> str | None:
    """Returns an interpreter of a series such as 3.12, or None if none runs here."""
    command = ("sh", str(ROOT / "tools" / "environment.sh"), "find", series)
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or None


def install(python: str, wheel: Path, top: Path, *, client_alone: bool = False) -> Install:
    """Makes an environment and installs a wheel, with its dependencies as the registry has them now.

    Args:
        python: the interpreter.
        wheel: the wheel.
        top: folder for the environment and the home.
        client_alone: whether to install only what the client needs.

    Raises:
        RuntimeError: an installation fails.
    """
    folder, home = top / "environment", top / "home"
    home.mkdir(parents=True)
    start = time.monotonic()
    _checked(top, python, "-m", "venv", "--without-pip", str(folder))
    pip = (sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet")
    if client_alone:
        _checked(top, *pip, "--no-deps", str(wheel.resolve()))
        _checked(top, *pip, *client_requirements(folder))
    else:
        _checked(top, *pip, str(wheel.resolve()))
    return Install(folder, home, time.monotonic() - start)


def client_requirements(folder: Path) -> list[str]:
    """Returns the requirements of the client, as the metadata of the installed jaxchat has them."""
    [metadata] = folder.glob("lib/python3*/site-packages/jaxchat-*.dist-info")
    requirements = Distribution.at(metadata).requires or []
    return [line for line in requirements if line.partition(">")[0].strip() in CLIENT]


def _checked(folder: Path, *command: str) -> None:
    # pip takes packages in the working folder for installed ones, so that must not be the repository.
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed:\n{result.stdout}{result.stderr}")
