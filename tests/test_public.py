"""What `import jaxchat` gives."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import jaxchat

ROOT = Path(__file__).resolve().parents[1]


def test_every_public_name_is_there_and_listed() -> None:
    for name in jaxchat.__all__:
        assert getattr(jaxchat, name) is not None
    assert set(jaxchat.__all__) <= set(dir(jaxchat))
    with pytest.raises(AttributeError, match="nothing"):
        _ = jaxchat.nothing


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert jaxchat.__version__ == project["version"]
