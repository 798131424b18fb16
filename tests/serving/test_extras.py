"""Commands that need a package which is not installed end with one line that names what installs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serving.cli.extras import missing_package

ROOT = Path(__file__).resolve().parents[2]
WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from serving.cli.main import main
sys.exit(main(sys.argv[2:]))
"""
MULTIHOST = ["--processes", "2", "--process-id", "1", "--coordinator", "127.0.0.1:1"]
SERVE = ["serve", "--grpc-port", "0", "--rest-port", "none", "--cache-dir", "none"]


@pytest.mark.parametrize(
    ("module", "arguments", "advice"),
    [
        ("tokenizers", SERVE, "tokenizers is missing: pip install jaxchat"),
        ("tokenizers", [*SERVE, *MULTIHOST], "tokenizers is missing: pip install jaxchat"),
        (
            "llguidance",
            ["chat", "hello", "--cache-dir", "none"],
            "llguidance is missing: pip install jaxchat",
        ),
        ("jax", ["plan", "bundled", "--topology", "v5e:1x1"], "jax is missing: pip install jaxchat"),
        ("orbax", ["convert", "no-such-owner/no-such-model", "x"], "need `pip install 'jaxchat[orbax]'`"),
        ("grpc_health", SERVE, "grpc_health is missing: pip install jaxchat"),
        ("starlette", ["serve", "--grpc-port", "0", "--rest-port", "0"], "starlette, uvicorn and prometheus_client"),
    ],
)
def test_a_missing_package_is_one_line(module: str, arguments: list[str], advice: str) -> None:
    command = [sys.executable, "-c", WITHOUT, module, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    (line,) = result.stderr.splitlines()
    assert line.startswith("jaxchat: ") and advice in line and result.returncode == 1


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("huggingface_hub", "hub"),
        ("opentelemetry.sdk.trace", "otel"),
        ("zmq", "kv-events"),
    ],
)
def test_each_package_has_its_extra(module: str, extra: str) -> None:
    line = missing_package(ModuleNotFoundError(name=module))
    assert line and line.startswith(f"jaxchat: {module} is missing: pip install 'jaxchat[{extra}]'")


@pytest.mark.parametrize("module", ["jaxchat.api", "serving.cli.nothing", None])
def test_a_missing_module_of_jaxchat_is_a_fault(module: str | None) -> None:
    assert missing_package(ModuleNotFoundError(name=module)) is None


@pytest.mark.parametrize("module", ["flax.linen", "uvicorn"])
def test_a_package_without_extra_comes_with_jaxchat(module: str) -> None:
    assert missing_package(ModuleNotFoundError(name=module)) == f"jaxchat: {module} is missing: pip install jaxchat"
