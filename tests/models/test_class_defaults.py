"""Configurations that lack a key or set it to null: the family's class in `transformers` says what that means."""

from __future__ import annotations

from typing import Any

import pytest
import transformers

from jaxchat.errors import ModelError
from jaxchat.models.config import ModelConfig
from jaxchat.models.families import from_hugging_face
from tools.parity.checkpoints import CASES, SHAPE, VOCAB

ARCHITECTURES = {"Gemma3Text": "Gemma3", "Gemma4Text": "Gemma4"}
SIZES = dict(hidden_size=512, num_attention_heads=8, num_hidden_layers=7, vocab_size_per_layer_input=VOCAB)
CHANGED = dict(sliding_window=32, use_sliding_window=True, max_window_layers=3)
UNRELATED = {"architectures", "model_type", "dtype", "transformers_version"}


def kinds() -> list[str]:
    return list(dict.fromkeys(kind for kind, _ in CASES.values()))


def written(kind: str, raw: dict[str, Any]) -> dict[str, Any]:
    """Returns the whole configuration that `transformers` makes of `raw`."""
    return getattr(transformers, f"{kind}Config")(**raw).to_dict() | dict(architectures=raw["architectures"])


def settings(kind: str) -> dict[str, Any]:
    """Returns a whole configuration of the family, with windows."""
    name = f"{ARCHITECTURES.get(kind, kind)}ForCausalLM"
    whole = written(kind, {**SHAPE, **SIZES, **CHANGED, "architectures": [name]})
    return {key: value for key, value in whole.items() if key not in UNRELATED or key == "architectures"}


def read(raw: dict[str, Any]) -> ModelConfig | str:
    try:
        return from_hugging_face(raw)
    except ModelError as error:
        return str(error)


@pytest.mark.parametrize("change", ["absent", "null"])
@pytest.mark.parametrize("kind", kinds())
def test_a_key_that_is_absent_or_null_means_the_same_as_to_transformers(kind: str, change: str) -> None:
    whole = settings(kind)
    assert isinstance(from_hugging_face(whole), ModelConfig)
    for key in whole.keys() - {"architectures"}:
        raw = dict(whole)
        raw.pop(key) if change == "absent" else raw.update({key: None})
        try:
            expected = read(written(kind, dict(raw)))
        except Exception:  # transformers refuses it, or fails
            continue
        actual = read(raw)
        if isinstance(actual, str) and key in actual:  # refused by name
            continue
        assert actual == expected, key
