"""Folders that clients are installed into: virtual environments for Python, npm packages for JavaScript."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.clients.definitions import PROGRAMS, ROOT, ChatClient, Language

STAMP = "installed.txt"
STUBS = {
    "version": "v2",
    "plugins": [{"local": "node_modules/.bin/protoc-gen-es", "out": "gen", "opt": "target=js,import_extension=js"}],
}


@dataclass(frozen=True)
class Environment:
    """A folder with the packages of one or more clients of a language."""

    folder: Path
    language: Language
    packages: tuple[str, ...]

    @property
    def recipe(self) -> str:
        """A text that changes when the folder must be made again.

        The text names the packages. For Python, it also has Python's version, and for JavaScript, the `proto/` files.
        """
        if self.language == "Python":
            return "\n".join((sys.version, *self.packages))
        return "\n".join((*self.packages, *(path.read_text("utf-8") for path in sorted(ROOT.glob("proto/**/*.proto")))))

    def install(self) -> None:
        """Installs the packages unless they are there. Raises CalledProcessError if a command fails."""
        stamp = self.folder / STAMP
        if stamp.exists() and stamp.read_text("utf-8") == self.recipe:
            return
        print(f"Installing {', '.join(self.packages)}.", flush=True)
        if self.language == "Python":
            self._install_python()
        else:
            self._install_javascript()
        stamp.write_text(self.recipe, "utf-8")

    def command(self, client: ChatClient) -> list[str]:
        """Returns the command that runs a client's program in the environment's folder."""
        if self.language == "Python":
            return [str(self._python), str(client.path)]
        for program in PROGRAMS.glob("*.mjs"):  # node searches for modules from the importing file's folder on
            (self.folder / program.name).write_bytes(program.read_bytes())
        return ["node", client.program]

    @property
    def _python(self) -> Path:
        return self.folder / "bin" / "python"

    def _install_python(self) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--clear", self.folder], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(self._python)]
        subprocess.run([*pip, "install", "--quiet", *self.packages], check=True)

    def _install_javascript(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "package.json").write_text(json.dumps({"private": True, "type": "module"}), "utf-8")
        npm = ["npm", "install", "--silent", "--no-fund", "--no-audit", "--save-exact"]
        subprocess.run([*npm, *self.packages], check=True, cwd=self.folder)
        buf = ["node_modules/.bin/buf", "generate", str(ROOT), "--template", json.dumps(STUBS)]
        subprocess.run(buf, check=True, cwd=self.folder)


def environment_of(client: ChatClient, clients: Sequence[ChatClient], cache: Path) -> Environment:
    """Returns a client's environment: a folder in `cache`, with the packages of all `clients` that share the folder."""
    sharing = [other for other in clients if other.folder == client.folder]
    packages = dict.fromkeys(package for other in sharing for package in other.packages)
    return Environment(cache / client.folder, client.language, tuple(packages))
