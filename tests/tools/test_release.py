"""The release's checks: what the distributions really contain, and that a file too few or too many is named."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("build")

from tools.release.__main__ import Trial, attempt, table
from tools.release.distributions import (
    PROTOCOL,
    ROOT,
    SOURCES,
    build,
    package_files,
    report,
    source_problems,
    wheel_problems,
)

TOKENIZER = "jaxchat/bundled/tokenizer_config.json"
FILES = {"jaxchat/__init__.py", TOKENIZER}
LICENCE = "jaxchat-1.dist-info/licenses/LICENSE"


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("dist"), isolated=False)


def test_both_distributions_are_complete(distributions: tuple[Path, Path]) -> None:
    wheel, source = distributions
    assert wheel_problems(wheel, package_files()) == []
    assert source_problems(source, package_files()) == []


def test_the_wheel_has_the_protocol_beside_the_code_generated_from_it(distributions: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(distributions[0]) as archive:
        for name in PROTOCOL:
            assert archive.read(name) == (ROOT / "proto" / name).read_bytes()
            assert name.replace(".proto", "_pb2.py") in archive.namelist()


def made_wheel(path: Path, names: set[str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, '{"chat_template": ""}')
    return path


def made_source(path: Path, names: set[str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(f"jaxchat-1/{name}"), io.BytesIO())
    return path


@pytest.mark.parametrize(
    ("make", "check", "complete"),
    [
        (made_wheel, wheel_problems, {*FILES, *PROTOCOL, LICENCE}),
        (made_source, source_problems, {*FILES, *SOURCES, "PKG-INFO", "jaxchat.egg-info/SOURCES.txt"}),
    ],
)
def test_a_file_too_few_or_too_many_is_named(
    tmp_path: Path,
    make: Callable[[Path, set[str]], Path],
    check: Callable[[Path, set[str]], list[str]],
    complete: set[str],
) -> None:
    assert check(make(tmp_path / "complete", complete), FILES) == []
    assert check(make(tmp_path / "few", complete - {"jaxchat/__init__.py"}), FILES) == ["lacks jaxchat/__init__.py"]
    [problem] = check(make(tmp_path / "many", {*complete, "tests/test_x.py"}), FILES)
    assert problem.startswith("has tests/test_x.py")


@pytest.mark.parametrize(
    ("missing", "problem"),
    [
        (LICENCE, "lacks LICENSE"),
        ("jaxchat/v1/chat.proto", "lacks jaxchat/v1/chat.proto"),
        (TOKENIZER, "the bundled model has no chat template"),
    ],
)
def test_a_wheel_without_its_parts_is_wrong(tmp_path: Path, missing: str, problem: str) -> None:
    wheel = made_wheel(tmp_path / "jaxchat-1.whl", {*FILES, *PROTOCOL, LICENCE} - {missing})
    assert problem in wheel_problems(wheel, FILES)
    assert "contents WRONG" in report({wheel: [problem]}) and problem in report({wheel: [problem]})


def test_a_python_that_is_missing_or_fails_is_a_row(tmp_path: Path) -> None:
    trial = attempt("3.1", tmp_path / "none.whl")
    assert trial.result == "this Python is not installed"
    assert table([trial]).splitlines()[-1] == "| 3.1 | - | - | - | - | this Python is not installed |"
    assert table([Trial("3.12", "0.12", "60", "700.0", "40.0", "passed")]).count("|") == 3 * 7
