"""Imports point downward only. The table says what each layer may import of this repository, and what it must not
import of others; a package in the table covers what lies below it, and the longest name that fits decides."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LEAVES = {
    "jaxchat.arithmetic",
    "jaxchat.cache",
    "jaxchat.cache_events",
    "jaxchat.config",
    "jaxchat.errors",
    "jaxchat.fingerprint",
    "jaxchat.html",
    "jaxchat.hub",
    "jaxchat.json_text",
    "jaxchat.model_diagnosis",
    "jaxchat.model_directory",
    "jaxchat.quantised",
    "jaxchat.registry",
    "jaxchat.settings",
    "jaxchat.types",
    "jaxchat.units",
}
FORMS = "jaxchat.checkpoints.stored_form"  # the registry, which the check of a config.json asks too
ROUNDING = "jaxchat.kernels.matmul.rounding"  # for checkpoints that are written with rounded weights
JAX = LEAVES | {"jaxchat.compat"}
DEVICE = JAX | {"jaxchat.kernels", "jaxchat.sampling", "jaxchat.models", "jaxchat.checkpoints", "jaxchat.parallel"}
PARALLEL = {
    "jaxchat.arithmetic",
    "jaxchat.config",
    "jaxchat.errors",
    "jaxchat.types",
    "jaxchat.models",
    "jaxchat.parallel",
}
WIRE = {"jaxchat.v1", "jaxchat.errors", "jaxchat.openai_json"}
SHOWN = {"jaxchat.html", "jaxchat.units"}
CHAT = WIRE | {
    "jaxchat.openai_responses",
    "jaxchat.config",
    "jaxchat.settings",
    "jaxchat.chat.context",
    "jaxchat.chat.request.validate",
}
HEAVY = {"jax", "jaxlib", "flax", "orbax"}
RPC = {"grpc", "google"}

#   layer                     may import of the repository                                   never
LAYERS: dict[str, tuple[set[str], set[str]]] = {
    "jaxchat":                 ({"jaxchat"},                                                  set()),
    "jaxchat.arithmetic":      (set(),                                                        HEAVY | RPC),
    "jaxchat.cache":           ({"jaxchat.config"},                                          HEAVY | RPC),
    "jaxchat.cache_events":    (set(),                                                        HEAVY | RPC | {"numpy"}),
    "jaxchat.settings":        (set(),                                                        HEAVY | RPC),
    "jaxchat.config":          ({"jaxchat.settings", "jaxchat.errors", "jaxchat.json_text"},  HEAVY | RPC),
    "jaxchat.types":           ({"jaxchat.config", "jaxchat.errors"},                         HEAVY | RPC),
    "jaxchat.errors":          (set(),                                                        HEAVY | RPC),
    "jaxchat.fingerprint":     (set(),                                                        HEAVY | RPC),
    "jaxchat.html":            (set(),                                                        HEAVY | RPC),
    "jaxchat.units":           (set(),                                                        HEAVY | RPC),
    "jaxchat.json_text":       ({"jaxchat.errors"},                                           HEAVY | RPC),
    "jaxchat.registry":        (set(),                                                        HEAVY | RPC),
    "jaxchat.quantised":       (set(),                                                        HEAVY | RPC),
    "jaxchat.compat":          (set(),                                                        RPC),
    "jaxchat.__main__":        ({"serving.cli.main"},                                         HEAVY | RPC),
    "jaxchat.hub":             ({"jaxchat.errors"},                                           HEAVY | RPC),
    "jaxchat.model_diagnosis": (set(),                                                        HEAVY | RPC),
    "jaxchat.model_directory": (
        {"jaxchat.errors", "jaxchat.bundled", "jaxchat.hub", "jaxchat.model_diagnosis"},      HEAVY | RPC),
    "jaxchat.bundled":         (set(),                                                        HEAVY | RPC),
    "jaxchat.v1":              ({"jaxchat.v1"},                                               HEAVY),
    "jaxchat.openai_json":     (WIRE,                                                        HEAVY | {"grpc", "numpy"}),
    "jaxchat.openai_responses": (WIRE | {"jaxchat.openai_responses"},                       HEAVY | {"grpc", "numpy"}),
    "jaxchat.multihost.v1":    ({"jaxchat.multihost.v1"},                                     HEAVY),
    "jaxchat.kernels":         (JAX | {"jaxchat.kernels"},                                    RPC),
    "jaxchat.sampling":        (JAX | {"jaxchat.sampling"},                                   RPC),
    "jaxchat.models":          (LEAVES | {"jaxchat.models", "jaxchat.kernels", FORMS},        RPC),
    "jaxchat.parallel":        (PARALLEL | {"jaxchat.kernels.attention.backend", "jaxchat.sampling.topk"}, RPC),
    "jaxchat.checkpoints.stored_form": (LEAVES,                                               HEAVY | RPC),
    "jaxchat.checkpoints":     (LEAVES | {"jaxchat.checkpoints", "jaxchat.models", ROUNDING}, RPC),
    "jaxchat.runtime":         (DEVICE | {"jaxchat.runtime"},                                 RPC),
    "jaxchat.planning":        (DEVICE | {"jaxchat.planning", "jaxchat.runtime"},             RPC),
    "jaxchat.engine":          (LEAVES | {"jaxchat.engine"},                                  HEAVY | RPC),
    "jaxchat.chat":            (LEAVES | {"jaxchat.chat", "jaxchat.engine", "jaxchat.v1"},    HEAVY | {"grpc"}),
    "jaxchat.client":          (WIRE | SHOWN | {"jaxchat.client"},                            HEAVY | {"numpy"}),
    "jaxchat.client.local":    (WIRE | {"jaxchat.client.transport", "jaxchat.chat"},          HEAVY | {"numpy"}),
    "serving":                 (LEAVES | CHAT | {"jaxchat.client", "serving"},                HEAVY),
    "serving.bench":           (LEAVES | {"serving.bench"},                                   HEAVY | RPC | {"numpy"}),
    "serving.multihost":       (LEAVES | {"jaxchat.multihost.v1", "serving.config", "serving.multihost"}, HEAVY),
    "serving.deploy":          (LEAVES | CHAT | {"jaxchat.api", "jaxchat.client", "serving"}, HEAVY),
    "serving.cli":             (
        LEAVES | CHAT | {"jaxchat.api", "jaxchat.client", "jaxchat.multihost.follower", "jaxchat.progress", "serving"},
        HEAVY),
}  # fmt: skip


def covers(package: str, module: str) -> bool:
    return module == package or module.startswith(package + ".")


def modules() -> Iterator[tuple[str, Path]]:
    for top in ("jaxchat", "serving"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path, module: str) -> Iterator[str]:
    """Absolute names of everything imported, also inside functions; `from a import b` counts as `a.b`."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            yield from (f"{base}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("module", "path"), [pytest.param(m, p, id=m) for m, p in modules()])
def test_imports_point_downward(module, path):
    layer = max((name for name in LAYERS if covers(name, module)), key=len)
    allowed, never = LAYERS[layer]
    for name in imports(path, module):
        assert not any(covers(package, name) for package in never), f"{layer} must not import {name}"
        if name.split(".")[0] in ("jaxchat", "serving", "tools", "tests"):
            assert any(covers(package, name) for package in allowed), f"{layer} must not import {name}"


def test_what_jax_may_move_is_imported_in_one_place():
    unstable, stable = {"jax.experimental", "jax.extend", "jax._src", "jaxlib"}, "jax.experimental.pallas"
    for module, path in modules():
        for name in imports(path, module):
            kernels = covers(stable, name) and not covers(f"{stable}.ops", name)
            assert module == "jaxchat.compat" or kernels or not any(covers(package, name) for package in unstable), (
                f"{module} must take {name} from jaxchat.compat"
            )


@pytest.mark.parametrize(
    "module", ["jaxchat.client", "jaxchat.openai_json", "jaxchat.chat.request.validate", "serving.cli.commands"]
)
def test_light_modules_load_nothing_heavy(module):
    heavy = ["jax", "flax", "numpy", "tokenizers", "starlette", "uvicorn", "aiohttp", "matplotlib"]
    use = "serving.cli.commands.parser()" if module == "serving.cli.commands" else "pass"  # imports all
    code = f"import sys, {module}; {use}; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.strip() == "[]"


LIGHT_INSTALL = """
import sys

class Missing:
    '''Hides all packages but the standard library and what the client needs.'''

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in {"jaxchat", "serving", "grpc", "google", "typing_extensions", *sys.stdlib_module_names}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import jaxchat; print(jaxchat.Client('127.0.0.1:1').chat.completions.create)", "Completions.create"),
        ("import jaxchat; print(jaxchat.ChatError, jaxchat.ModelError, jaxchat.EngineConfig)", "EngineConfig"),
        ("import jaxchat\ntry: jaxchat.load()\nexcept ImportError as error: print(error)", "pip install jaxchat"),
        ("import sys, serving.cli.main as m; sys.stderr = sys.stdout; m.main(['serve'])", "pip install jaxchat"),
    ],
)
def test_the_client_needs_three_packages_and_the_rest_is_named(code: str, says: str):
    command = [sys.executable, "-c", LIGHT_INSTALL + code]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert says in result.stdout
