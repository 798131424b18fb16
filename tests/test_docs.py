"""Documents: the paths, links, modules, targets of make and flags that they name exist; no banned phrases."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import pytest

from serving.cli.main import main
from tests.test_language import banned

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
HISTORY = ROOT / "CHANGELOG.md"  # may name what has gone
TOP = ("constraints", "docs", "examples", "jaxchat", "proto", "serving", "tests", "tools")
CODE = re.compile(r"^```.*?^```|^    .*?$|``.+?``|`[^`\n]+`", re.DOTALL | re.MULTILINE)
MODULE = re.compile(r"python[\d.]* -m ((?:tools|serving|jaxchat)[\w.]*)")
TARGET = re.compile(r"(?:^|[`/ ])make ([a-z][\w-]*)", re.MULTILINE)
COMMAND = re.compile(r"(?:^|[`/ ])jaxchat ([a-z]+)\b([^`\n#|;]*)", re.MULTILINE)
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMANDS = ("serve", "rest", "chat", "batch", "replay", "bench", "models", "convert", "plan", "keys")
FOREIGN = {"--build-arg", "--cacert", "--xla_cpu_max_isa"}  # of podman, curl and XLA
FOREIGN |= {"--data", "--http2-prior-knowledge", "--protocol", "--template"}  # of buf
FOREIGN |= {"--format", "--publish", "--read-only", "--tmpfs", "--volume"}  # of podman


def code_of(document: Path) -> Iterator[str]:
    """Yields the code blocks and the inline code of a document, continued lines joined."""
    for code in CODE.findall(document.read_text("utf-8")):
        yield code.replace("\\\n", " ")


def documents(*, history: bool = False) -> pytest.MarkDecorator:
    """Returns a parameter `document`: every document, the changelog only where it is asked for."""
    chosen = [path for path in DOCUMENTS if history or path != HISTORY]
    return pytest.mark.parametrize("document", chosen, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def flags_of(*command: str) -> frozenset[str]:
    """Returns the flags that `jaxchat COMMAND --help` lists."""
    text = io.StringIO()
    wide = mock.patch.dict(os.environ, COLUMNS="1000")  # flags are not broken at their hyphens
    with wide, contextlib.redirect_stdout(text), pytest.raises(SystemExit):
        main([*command, "--help"])
    return frozenset(FLAG.findall(text.getvalue()))


@cache
def flags_of_tools() -> frozenset[str]:
    """Returns the flags that the modules of `tools` declare."""
    sources = (path.read_text("utf-8") for path in (ROOT / "tools").rglob("*.py"))
    return frozenset(flag for source in sources for flag in re.findall(r'"(--[a-z][\w-]*)"', source))


def slugs(document: Path) -> set[str]:
    """Returns the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@documents()
def test_paths_exist(document: Path) -> None:
    for code in code_of(document):
        for word in re.split(r"[\s`'\"(),:=]+", code):
            if word.startswith(tuple(f"{folder}/" for folder in TOP)):
                assert any(ROOT.glob(word.rstrip("/.;"))), f"{document.name} names {word}"


@documents()
def test_python_files_are_named_from_the_root(document: Path) -> None:
    for code in code_of(document):
        for word in re.findall(r"[\w./-]+\.(?:py|cc|h)\b", code):
            assert any(ROOT.glob(word.lstrip("/"))), f"{document.name} names {word}"


@documents(history=True)
def test_relative_links_lead_somewhere(document: Path) -> None:
    for link in LINK.findall(document.read_text("utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{document.name} links to {link}"
        assert not anchor or anchor in slugs(target), f"{document.name} links to {link}"


@documents()
def test_modules_can_be_run(document: Path) -> None:
    for module in MODULE.findall(document.read_text("utf-8")):
        base = ROOT.joinpath(*module.split("."))
        file = base / "__main__.py" if base.is_dir() else base.with_suffix(".py")
        assert file.exists(), f"{document.name} runs {module}"
        assert '"__main__"' in file.read_text("utf-8") or file.name == "__main__.py", f"{module} runs nothing"


@documents(history=True)
def test_banned_phrases_are_avoided(document: Path) -> None:
    prose = CODE.sub(lambda code: "\n" * code[0].count("\n"), document.read_text("utf-8"))
    assert list(banned(1, prose)) == []


@documents()
def test_imports_in_examples_work(document: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", document.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in ("jaxchat", "serving"):
                module = importlib.import_module(str(node.module))
                for alias in node.names:
                    there = hasattr(module, alias.name) or find_spec(f"{node.module}.{alias.name}")
                    assert there, f"{document.name} imports {alias.name} from {node.module}"


@documents()
def test_targets_of_make_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for code in code_of(document):
        for target in TARGET.findall(code):
            assert target in targets, f"{document.name} has make {target}"


@documents()
def test_commands_take_the_flags_that_are_named_with_them(document: Path) -> None:
    for code in code_of(document):
        for command, rest in COMMAND.findall(code):
            for flag in FLAG.findall(rest):
                assert flag in flags_of(command), f"{document.name} has jaxchat {command} {flag}"


@documents()
def test_flags_exist(document: Path) -> None:
    known = flags_of().union(*map(flags_of, COMMANDS), flags_of_tools(), FOREIGN)
    for code in code_of(document):
        if "pip install" in code or "git " in code:
            continue
        for flag in FLAG.findall(code):
            assert flag in known, f"{document.name} names {flag}"


@pytest.mark.parametrize(
    ("text", "check", "found"),
    [
        ("`make tests`", TARGET.findall, ["tests"]),
        ("```\nmake run ARGS=1\n```", TARGET.findall, ["run"]),
        ("`python -m tools.bench.step --x`", MODULE.findall, ["tools.bench.step"]),
        ("`.venv/bin/jaxchat serve --help`", COMMAND.findall, [("serve", " --help")]),
        ("[a](docs/x.md#y)", LINK.findall, ["docs/x.md#y"]),
        ("`--a-b=1 -c x--d`", FLAG.findall, ["--a-b"]),
    ],
)
def test_the_patterns_find_what_they_are_for(text: str, check: Callable[[str], list[str]], found: list[str]) -> None:
    assert check(text) == found
