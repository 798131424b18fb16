"""Docstrings, comments and messages use plain standard English; `tests/test_docs.py` asks the same of documents.

Rules: a docstring starts with a verb in the third person, a class's with a noun phrase. The phrases below are banned
because readers have to read them twice.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PEOPLE = re.compile(
    r"\b(?:(?:any|every|no|some)(?:body|one)|(?:call|develop|engine|operat|read|us)(?:er|or)s?|clients?|people) who\b",
    re.I,
)
BANNED = {
    r"\b(?:is|are) no\b(?! longer)": "say 'is not a', 'has no' or 'without'",
    r"(?<!body )(?<!one )(?<!thing )(?<!where )(?<!or )\belse(?=[.;:)]|$)": "say 'otherwise', first",
    r"\bbut for\b": "say 'except'",
    r"\bso many\b": "give the number",
    r"\bof (?:its|their) own\b": "say 'separate', 'its own X' or nothing",
    r"\bbehind\b(?! (?:an?|one|your|Ray|the (?:proxy|server|border|load))\b)": "say 'after'",
    r"\b(?:falling|rising)\b(?! back)": "say 'descending' or 'ascending'",
    r"\bwhoever\b": "name the part of the program",
    r"(?-i:\bwho\b)": "persons only: say 'that' or 'which'",
}
UNCLEAR_START = re.compile(r"(?:What|Of|For|That|Whose|Who)\b")
VERB_FIRST = re.compile(r"(?:[A-Z][a-z]+(?:s|es)|Does)\b")
TREES = ("jaxchat", "serving", "tools")
DATA = ("tools/training/skills",)  # sentences that the bundled model is trained on

Text = tuple[int, str]


def sources() -> list[Path]:
    paths = [path for tree in TREES for path in (ROOT / tree).rglob("*.py")]
    return sorted(path for path in paths if "_pb2" not in path.name)


def docstrings(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.Constant]]:
    """Yields each definition with its docstring. A string after an assignment documents the assigned name."""
    for node in ast.walk(tree):
        for before, child in zip([None, *ast.iter_child_nodes(node)], ast.iter_child_nodes(node), strict=False):
            if (
                isinstance(child, ast.Expr)
                and isinstance(child.value, ast.Constant)
                and isinstance(child.value.value, str)
            ):
                first = child is getattr(node, "body", [None])[0]
                yield (node if first else before or node), child.value


def comments(source: str) -> Iterator[Text]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not re.match(r"# (?:type|noqa|fmt)\b", token.string):
            yield token.start[0], token.string.lstrip("# ")


def messages(tree: ast.Module) -> Iterator[Text]:
    """Yields all other strings that read as text, such as errors, help and log lines."""
    documented = {id(constant) for _, constant in docstrings(tree)}
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and id(node) not in documented else None
        if isinstance(text, str) and re.search(r"[a-z] [a-z]", text):
            yield node.lineno, text


def banned(line: int, text: str) -> Iterator[str]:
    """Yields a complaint for each banned phrase in a text that begins at a line."""
    flat = re.sub(r"`[^`]*`", lambda match: "x" * len(match[0]), text)
    flat = PEOPLE.sub(lambda match: "x" * len(match[0]), re.sub(r"\s", " ", flat))
    for pattern, advice in BANNED.items():
        for match in re.finditer(pattern, flat.rstrip(), re.IGNORECASE):
            place = line + text.count("\n", 0, match.start())
            yield f"{place}: '{flat[max(match.start() - 30, 0) : match.end() + 10].strip()}': {advice}"


def starts(node: ast.AST, constant: ast.Constant) -> Iterator[str]:
    first = str(constant.value).strip().split("\n")[0]
    if UNCLEAR_START.match(first):
        yield f"{constant.lineno}: '{first[:60]}' starts with a fragment"
        return
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or VERB_FIRST.match(first):
        return
    if not any("property" in ast.unparse(decorator) for decorator in node.decorator_list):
        yield f"{constant.lineno}: '{first[:60]}' does not start with a verb in the third person"


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_sources_use_plain_english(path: Path) -> None:
    source = path.read_text("utf-8")
    tree = ast.parse(source)
    texts = [(constant.lineno, str(constant.value)) for _, constant in docstrings(tree)] + list(comments(source))
    if not path.relative_to(ROOT).as_posix().startswith(DATA):
        texts += messages(tree)
    complaints = [complaint for line, text in texts for complaint in banned(line, text)]
    complaints += [complaint for node, constant in docstrings(tree) for complaint in starts(node, constant)]
    assert not complaints, "\n" + "\n".join(f"{path.relative_to(ROOT)}:{complaint}" for complaint in complaints)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("There is no slot.", False),
        ("It is no list, and is no longer one of its own.", False),
        ("The slot is no longer free.", True),
        ("It deadlocks else", False),
        ("nothing else", True),
        ("all but for one", False),
        ("It takes so many tokens.", False),
        ("A thread of its own.", False),
        ("One page behind the last.", False),
        ("A server behind a proxy.", True),
        ("Sizes, rising.", False),
        ("This tells whoever waits.", False),
        ("The step who ends.", False),
        ("Users who wait.", True),
        ("clients who wait", True),
    ],
)
def test_phrases(text: str, allowed: bool) -> None:
    assert (not list(banned(1, text))) == allowed
