"""What an installed package holds besides Python: the kernels' sources, the bundled model, files to deploy with."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"][
    "package-data"
]
CODE = {".py", ".pyi", ".pyc"}


@pytest.mark.parametrize("package", ["jaxchat", "serving"])
def test_every_file_of_a_package_is_installed_with_it(package: str) -> None:
    top = ROOT / package
    named = {path for pattern in DATA[package] for path in top.glob(pattern)}
    assert {path for path in top.rglob("*") if path.is_file() and path.suffix not in CODE} <= named


@pytest.mark.parametrize(
    ("package", "pattern"), [(package, pattern) for package, patterns in DATA.items() for pattern in patterns]
)
def test_every_pattern_finds_a_file(package: str, pattern: str) -> None:
    assert any((ROOT / package).glob(pattern))
