"""The facts that must be equal in all processes of a multihost group."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jaxchat.config import EngineConfig
from jaxchat.errors import ModelError
from jaxchat.multihost.follower import multihost_facts
from tests import tiny

TEXTS = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/tool_use.jinja",
]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for name in TEXTS:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(tiny.CONFIG))
    return tmp_path


def differing(one: dict[str, str], other: dict[str, str]) -> set[str]:
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


@pytest.mark.parametrize("name", TEXTS)
def test_every_text_that_decides_prompts_is_compared(model: Path, name: str) -> None:
    engine = EngineConfig()
    before = multihost_facts(str(model), engine)
    (model / name).write_text(" " + (model / name).read_text())
    assert differing(multihost_facts(str(model), engine), before) == {name}
    (model / name).unlink()
    if name in ("config.json", "tokenizer.json"):
        with pytest.raises(ModelError, match=f"{name}: not found|without {name}"):
            multihost_facts(str(model), engine)
    else:
        assert differing(multihost_facts(str(model), engine), before) == {name}


def test_settings_are_compared_and_those_of_one_process_are_not(model: Path) -> None:
    before = multihost_facts(str(model), EngineConfig())
    assert {"jaxchat", "jax", "jaxlib"} < before.keys()
    assert differing(multihost_facts(str(model), EngineConfig(slots=3)), before) == {"slots"}
    assert multihost_facts(str(model), EngineConfig(cache_dir="none", max_queued=7)) == before
