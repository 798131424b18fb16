"""Mistral: Llama with a sliding window in every layer (arXiv 2310.06825), or with none since version 0.2.

Ministral has windows in some layers only. Its `config.json` names the architecture of Mistral or of Ministral.
Ministral 3 uses YaRN, and multiplies each query by a factor that grows with its position. Mistral 3 is a Mistral or a
Ministral 3 with a vision tower.
"""

from __future__ import annotations

from dataclasses import replace

from jaxchat.models.config import ModelConfig, Names
from jaxchat.models.families.common import (
    kinds,
    names_in_llava,
    optional_window,
    rope,
    same_windows,
    sizes,
    text_part,
    windows,
)
from jaxchat.models.hf_config import HFConfigReader

_DEFAULTS = dict(num_key_value_heads=8, max_position_embeddings=131_072, sliding_window=4096)
_DEFAULTS_MINISTRAL_3 = dict(
    num_key_value_heads=8, head_dim=128, max_position_embeddings=262_144, rms_norm_eps=1e-5, sliding_window=None
)
_ROPE_MINISTRAL_3 = dict(
    rope_type="yarn",
    rope_theta=1e6,
    factor=16.0,
    original_max_position_embeddings=16_384,
    mscale=1.0,
    mscale_all_dim=1.0,
    llama_4_scaling_beta=0.1,
)
_NAMES_3 = names_in_llava(Names())


def read(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `MistralForCausalLM` and `MinistralForCausalLM`.

    Raises ModelError if a key is missing or wrong.
    """
    keys = keys.or_else(_DEFAULTS)
    window = optional_window(keys)
    every = (window > 0,) * keys.integer("num_hidden_layers")
    return ModelConfig(**sizes(keys), kinds=kinds(rope(keys), windows(keys, every, window)))


def read_ministral_3(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `Ministral3ForCausalLM`. Raises ModelError if a key is missing or wrong."""
    keys = keys.or_else(_DEFAULTS_MINISTRAL_3)
    if not keys.has("rope_parameters") and not len(keys.inner("rope_scaling")):
        keys = keys.replaced(dict(rope_parameters=_ROPE_MINISTRAL_3))
    settings = keys.inner("rope_scaling") if len(keys.inner("rope_scaling")) else keys.inner("rope_parameters")
    beta = settings.number("llama_4_scaling_beta", 0.0)
    if beta:
        settings.integer("original_max_position_embeddings")  # raises if it is missing
    layers = kinds(replace(rope(keys), query_beta=beta), same_windows(keys, optional_window(keys)))
    return ModelConfig(**sizes(keys), kinds=layers)


def read_3_text(keys: HFConfigReader) -> ModelConfig:
    """Reads the text part of `Mistral3ForConditionalGeneration` and ignores its image parts.

    Raises:
        ModelError: the model type of the text part is not supported, or a key is missing or wrong.
    """
    text = text_part(keys, tied=True)
    readers = {"mistral": read, "ministral3": read_ministral_3}
    kind = text.word("model_type", "mistral")
    if kind not in readers:
        raise text.error("model_type", f"is not supported; supported: {', '.join(readers)}")
    return replace(readers[kind](text), names=_NAMES_3)
