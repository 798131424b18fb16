"""Builds the wheel and the source distribution, and checks what they contain."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("jaxchat", "serving")
PROTOCOL = tuple(f"jaxchat/v1/{name}.proto" for name in ("chat", "service", "text"))
LICENCE = "LICENSE"
SOURCES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", LICENCE, *(f"proto/{name}" for name in PROTOCOL))
"""Files that a source distribution needs besides the packages."""


def build(folder: Path, *, isolated: bool = True) -> tuple[Path, Path]:
    """Builds both distributions of the repository and returns the paths of the wheel and of the source distribution.

    The wheel is built from the source distribution, so that a file which the latter lacks is missed.

    Args:
        folder: empty folder for the distributions.
        isolated: whether to build with a newly installed setuptools, instead of that of this environment.

    Raises:
        RuntimeError: the build fails.
    """
    isolation = () if isolated else ("--no-isolation",)
    command = (sys.executable, "-m", "build", *isolation, "--outdir", str(folder), str(ROOT))
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"the build failed:\n{result.stdout}{result.stderr}")
    [wheel], [source] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, source


def package_files() -> set[str]:
    """Returns the paths of all files of the packages that git tracks, from the repository's root."""
    command = ("git", "-C", str(ROOT), "ls-files", "-z", *PACKAGES)
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {path for path in output.split("\0") if path}


def wheel_problems(wheel: Path, expected: Iterable[str]) -> list[str]:
    """Returns what is wrong with the contents of a wheel.

    Args:
        wheel: path of the wheel.
        expected: paths of all files of the packages.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        config = "jaxchat/bundled/tokenizer_config.json"
        tokenizer = json.loads(archive.read(config)) if config in names else {}
    metadata = {name for name in names if PurePosixPath(name).parts[0].endswith(".dist-info")}
    problems = _differences(names - metadata, {*expected, *PROTOCOL})
    if not any(name.endswith(f"/licenses/{LICENCE}") for name in metadata):
        problems.append(f"lacks {LICENCE}")
    if "chat_template" not in tokenizer:
        problems.append("the bundled model has no chat template")
    return problems


def source_problems(source: Path, expected: Iterable[str]) -> list[str]:
    """Returns what is wrong with the contents of a source distribution.

    Args:
        source: path of the source distribution.
        expected: paths of all files of the packages.
    """
    with tarfile.open(source) as archive:
        files = [member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()]
    generated = {name for name in files if name in ("PKG-INFO", "setup.cfg") or ".egg-info/" in name}
    return _differences(set(files) - generated, {*expected, *SOURCES})


def _differences(actual: set[str], expected: set[str]) -> list[str]:
    missing = [f"lacks {name}" for name in sorted(expected - actual)]
    return missing + [f"has {name}, which does not belong into it" for name in sorted(actual - expected)]


def megabytes(size: int) -> str:
    """Returns a number of bytes in MB, as "12.3"."""
    return f"{size / 1e6:.1f}"


def report(problems: Mapping[Path, list[str]]) -> str:
    """Returns a line for each distribution: its name, its size, and what is wrong with its contents."""
    lines = []
    for path, found in problems.items():
        lines.append(f"{path.name}: {megabytes(path.stat().st_size)} MB, contents {'WRONG' if found else 'complete'}")
        lines += [f"  {problem}" for problem in found]
    return "\n".join(lines)
