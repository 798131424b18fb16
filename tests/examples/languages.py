"""How the example of each language is fetched, built and run."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
FETCH_TIMEOUT, BUILD_TIMEOUT, RUN_TIMEOUT = 300, 1200, 300  # seconds
Command = tuple[str, ...]


class MissingError(Exception):
    """The error for a toolchain or packages that this machine lacks. The message names them."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A program in `examples/`.

    Attributes:
        name: name for people.
        folder: its folder in `examples/`, in which the commands run.
        commands: what must be on PATH.
        modules: Python modules that must be installed.
        fetch: commands that get packages from the language's registry. If one fails, packages are missing.
        build: commands that generate code and compile. If one fails, the example is broken.
        unreachable: pattern in the output of a build that also gets packages, and fails because there are none.
        run: the program. The address of the server is its last argument.
    """

    name: str
    folder: str
    commands: Command = ()
    modules: Command = ()
    fetch: tuple[Command, ...] = ()
    build: tuple[Command, ...] = ()
    unreachable: str = ""
    run: Command

    def install(self, top: Path) -> None:
        """Copies the example and the protocol to `top`, fetches packages and builds.

        Raises:
            MissingError: the toolchain or the packages are not to be had.
            AssertionError: the example cannot be built.
        """
        for missing in [name for name in self.commands if not shutil.which(name)]:
            raise MissingError(f"{missing} is not installed")
        for missing in [name for name in self.modules if not find_spec(name)]:
            raise MissingError(f"the module {missing} is not installed")
        ignore = shutil.ignore_patterns("gen", "node_modules", "target", "dist")
        shutil.copytree(EXAMPLES / self.folder, top / "examples" / self.folder, ignore=ignore)
        shutil.copytree(ROOT / "proto", top / "proto")
        for command in self.fetch:
            result = self._start(command, top, FETCH_TIMEOUT)
            if result.returncode:
                raise MissingError(f"`{' '.join(command)}` failed: {_first_line(result.stderr or result.stdout)}")
        for command in self.build:
            result = self._start(command, top, BUILD_TIMEOUT)
            output = result.stdout + result.stderr
            if result.returncode and self.unreachable and (match := re.search(self.unreachable, output)):
                raise MissingError(f"`{' '.join(command)}` failed: {match[0]}")
            assert result.returncode == 0, f"`{' '.join(command)}` failed:\n{output}"

    def output(self, top: Path, address: str) -> str:
        """Runs the example against the server at `address` and returns what it prints.

        Raises AssertionError if it fails.
        """
        *command, last = self.run
        result = self._start((*command, last + address), top, RUN_TIMEOUT)
        assert result.returncode == 0, f"{self.name} failed:\n{result.stdout}{result.stderr}"
        return result.stdout

    def _start(self, command: Command, top: Path, timeout: float) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        home = pwd.getpwuid(os.getuid()).pw_dir  # toolchains have their settings there, not in that of the tests
        environment = {**os.environ, "HOME": home, "PATH": path, "PYTHONPATH": str(ROOT)}
        folder = top / "examples" / self.folder
        options = dict(cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
        return subprocess.run(command, **options)


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[0]


LANGUAGES = (
    Example(name="Python, the client of jaxchat", folder="python", run=("python", "light.py", "")),
    Example(
        name="Python, generated stubs",
        folder="python",
        modules=("grpc_tools", "grpc_status"),
        build=(("sh", "generate.sh"),),
        run=("python", "stubs.py", ""),
    ),
    Example(
        name="TypeScript",
        folder="typescript",
        commands=("node", "npm"),
        fetch=(("npm", "install", "--no-fund", "--no-audit"),),
        build=(("npm", "run", "generate"), ("npm", "run", "build")),
        run=("npm", "start", "--silent", "--", ""),
    ),
    Example(
        name="Go",
        folder="go",
        commands=("go", "protoc", "protoc-gen-go", "protoc-gen-go-grpc"),
        fetch=(("go", "mod", "download"),),
        build=(("sh", "generate.sh"), ("go", "build", "-o", "example", ".")),
        run=("./example", ""),
    ),
    Example(
        name="Java",
        folder="java",
        commands=("javac", "mvn", "protoc", "protoc-gen-grpc-java"),
        build=(("mvn", "-q", "-B", "-Dstyle.color=never", "compile"),),
        unreachable=r"(?:The following artifacts could not be resolved|Could not (?:transfer|find) artifact).*",
        run=("mvn", "-q", "-B", "-Dstyle.color=never", "exec:java", "-Dexec.args="),
    ),
    Example(
        name="Rust",
        folder="rust",
        commands=("cargo", "protoc"),
        fetch=(("cargo", "fetch"),),
        build=(("cargo", "build"),),
        run=("cargo", "run", "--quiet", "--", ""),
    ),
)
