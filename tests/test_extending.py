"""Every program of `docs/extending.md` prints what the page says, in a process that has nothing but the package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxchat

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/extending.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```\s+```text\n(.*?)```", PAGE, re.S)
GROUPS = sorted(set(re.findall(r"`(jaxchat\.[a-z]+_?[a-z]+)` \|$", PAGE, re.M)))


def run(code: str, *paths: Path) -> str:
    """What a program prints that can import the package and what lies in `paths`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *paths)))}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(("code", "printed"), PROGRAMS, ids=re.findall(r"^## (An? .*)$", PAGE, re.M))
def test_a_program_prints_what_the_page_says(code: str, printed: str, tmp_path: Path) -> None:
    assert run(code, tmp_path) == printed


def test_every_kind_has_a_program() -> None:
    kinds = [name for name in jaxchat.__all__ if name.startswith("register_")]
    assert len(kinds) == len(GROUPS) == len(PROGRAMS) == 6
    for name in kinds:
        assert sum(f"jaxchat.{name}(" in code for code, _ in PROGRAMS) == 1


ASK = """
from jaxchat.chat.response.reasoning import REASONING_FORMATS
from jaxchat.chat.tools.format import TOOL_FORMATS
from jaxchat.checkpoints.stored_form import CHECKPOINT_FORMS
from jaxchat.kernels.attention.select import ATTENTION_BACKENDS
from jaxchat.models.families import FAMILIES
from jaxchat.sampling.processors import LOGITS_PROCESSORS
import sys

kinds = TOOL_FORMATS, REASONING_FORMATS, FAMILIES, ATTENTION_BACKENDS, CHECKPOINT_FORMS, LOGITS_PROCESSORS
print("acme_jaxchat" in sys.modules, [kind.get("acme") for kind in kinds], "acme_jaxchat" in sys.modules)
"""


def test_an_installed_package_adds_to_every_registry(tmp_path: Path) -> None:
    (tmp_path / "acme_jaxchat.py").write_text("THING = 'acme'\n")
    folder = tmp_path / "acme_jaxchat-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-jaxchat\nVersion: 1.0\n")
    lines = [f"[{group}]\nacme = acme_jaxchat:THING\n" for group in GROUPS]
    (folder / "entry_points.txt").write_text("\n".join(lines))
    assert run(ASK, tmp_path) == f"False {['acme'] * 6} True\n"
