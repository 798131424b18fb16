"""The reference of Python names, read from the sources without importing the engine."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import jaxchat
import jaxchat.client
from tools.docs.docstrings import markdown_of

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = {
    "client.chat.completions": ("jaxchat.client.client", "Completions"),
    "client.completions": ("jaxchat.client.text", "TextCompletions"),
    "client.models": ("jaxchat.client.client", "Models"),
}
PYTHON = "The names that `import jaxchat` gives. The [types of answers](client.md) have their page."
CLIENT = "The names of `jaxchat.client`. The [protocol](protocol.md) explains the fields of requests and answers."
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def python_page() -> str:
    """Returns the page of the names that `import jaxchat` gives."""
    homes = imports_of("jaxchat")
    names = [name for name in jaxchat.__all__ if name in homes]
    lines = ["# Python", "", PYTHON, ""]
    for name in sorted(names, key=lambda name: (name.startswith("register_"), name[0].isupper(), name.lower())):
        lines += described(f"jaxchat.{name}", definition(homes[name], name))
        if name == "Client":
            for path, (module, member) in MEMBERS.items():
                lines += described(path, definition(module, member), level=3)
    return "\n".join(lines)


def client_page() -> str:
    """Returns the page of the names that `jaxchat.client` gives."""
    homes = imports_of("jaxchat.client")
    lines = ["# Client types", "", CLIENT, ""]
    for name in jaxchat.client.__all__:
        if name not in jaxchat.__all__:
            lines += described(name, definition(homes[name], name))
    return "\n".join(lines)


@cache
def parsed(module: str) -> ast.Module:
    """Returns the syntax tree of a module."""
    base = ROOT.joinpath(*module.split("."))
    file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    return ast.parse(file.read_text("utf-8"))


def imports_of(module: str) -> dict[str, str]:
    """Returns the names that a module imports with `from`, each with the module that it is imported from."""
    froms = (node for node in ast.walk(parsed(module)) if isinstance(node, ast.ImportFrom))
    return {alias.name: str(node.module) for node in froms for alias in node.names}


def definition(module: str, name: str) -> Definition | ast.Assign:
    """Returns the definition of a name, followed through imports. Raises KeyError if there is none."""
    for node in parsed(module).body:
        if isinstance(node, Definition) and node.name == name:
            return node
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in map(ast.unparse, _targets(node)):
            return node  # type: ignore[return-value]
    if (home := imports_of(module).get(name)) is not None:
        return definition(home, name)
    raise KeyError(f"{module} does not define {name}")


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def described(title: str, node: Definition | ast.Assign, level: int = 2) -> Iterator[str]:
    """Yields the lines of a name: a heading, its signature, its text and its public members."""
    yield from [f"{'#' * level} `{title}`", "", "```python", _signature(node), "```", ""]
    if not isinstance(node, Definition):
        return
    yield from [markdown_of(ast.get_docstring(node)), ""]
    if isinstance(node, ast.ClassDef):
        for member in node.body:
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and _is_documented(member):
                yield from [f"{'#' * (level + 1)} `{title.split('.')[-1]}.{member.name}`", ""]
                yield from ["```python", _signature(member), "```", "", markdown_of(ast.get_docstring(member)), ""]


def _is_documented(member: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return not member.name.startswith("_") and ast.get_docstring(member) is not None


def _signature(node: Definition | ast.Assign) -> str:
    if isinstance(node, ast.ClassDef):
        return "\n".join([*_class_head(node), *_fields(node)])
    if not isinstance(node, Definition):
        return ast.unparse(node)
    decorators = [f"@{ast.unparse(each)}\n" for each in node.decorator_list if "property" in ast.unparse(each)]
    kind = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{kind} {node.name}({ast.unparse(node.args)}){returns}"
    if len(line) > 100:
        arguments = "".join(f"    {each},\n" for each in _arguments(node.args))
        line = f"{kind} {node.name}(\n{arguments}){returns}"
    return "".join(decorators) + line


def _class_head(node: ast.ClassDef) -> Iterator[str]:
    bases = ", ".join([*map(ast.unparse, node.bases), *map(ast.unparse, node.keywords)])
    yield f"class {node.name}{f'({bases})' if bases else ''}"
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            yield f"    {_signature(member)}".replace("\n", "\n    ").replace(" -> None", "")


def _fields(node: ast.ClassDef) -> Iterator[str]:
    for member in node.body:
        if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            default = member.value and ast.unparse(member.value)
            if default and default.startswith("setting("):
                default = ast.unparse(member.value.args[0]) if isinstance(member.value, ast.Call) else default
            if not member.target.id.startswith("_"):
                yield f"    {member.target.id}: {ast.unparse(member.annotation)}{f' = {default}' if default else ''}"


def _arguments(arguments: ast.arguments) -> Iterator[str]:
    """Yields the parameters of a signature, each with its type and default."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    for number, (each, default) in enumerate(zip(positional, defaults, strict=True), 1):
        yield f"{ast.unparse(each)}{f' = {ast.unparse(default)}' if default else ''}"
        if number == len(arguments.posonlyargs):
            yield "/"
    if arguments.vararg:
        yield f"*{ast.unparse(arguments.vararg)}"
    elif arguments.kwonlyargs:
        yield "*"
    for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield f"{ast.unparse(each)}{f' = {ast.unparse(default)}' if default else ''}"
    if arguments.kwarg:
        yield f"**{ast.unparse(arguments.kwarg)}"
