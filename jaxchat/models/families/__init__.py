"""The registry of model families. A family is a function from a `config.json` to a `ModelConfig`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxchat.checkpoints.stored_form import CHECKPOINT_FORMS, CheckedForm
from jaxchat.errors import ModelError
from jaxchat.model_diagnosis import kind_of_architecture
from jaxchat.model_directory import check_contents, read_object
from jaxchat.models.config import ModelConfig
from jaxchat.models.hf_config import HFConfigReader
from jaxchat.registry import Registry

Read = Callable[[HFConfigReader], ModelConfig]
"""`read(keys)` returns the model that a `config.json` describes.

It raises ModelError for a setting that the decoder would compute wrongly.
"""
_HERE = "jaxchat.models.families"
FAMILIES: Registry[Read] = Registry(
    "model family",
    "jaxchat.families",
    {
        "LlamaForCausalLM": f"{_HERE}.llama:read",
        "MistralForCausalLM": f"{_HERE}.mistral:read",
        "MinistralForCausalLM": f"{_HERE}.mistral:read",
        "Ministral3ForCausalLM": f"{_HERE}.mistral:read_ministral_3",
        "Mistral3ForConditionalGeneration": f"{_HERE}.mistral:read_3_text",
        "Qwen2ForCausalLM": f"{_HERE}.qwen:read_2",
        "Qwen2MoeForCausalLM": f"{_HERE}.qwen:read_2_experts",
        "Qwen3ForCausalLM": f"{_HERE}.qwen:read_3",
        "Qwen3MoeForCausalLM": f"{_HERE}.qwen:read_3_experts",
        "Qwen2VLForConditionalGeneration": f"{_HERE}.qwen:read_2_text",
        "Qwen2_5_VLForConditionalGeneration": f"{_HERE}.qwen:read_2_text",
        "Qwen3VLForConditionalGeneration": f"{_HERE}.qwen:read_3_text",
        "Qwen3VLMoeForConditionalGeneration": f"{_HERE}.qwen:read_3_experts_text",
        "MixtralForCausalLM": f"{_HERE}.mixtral:read",
        "GemmaForCausalLM": f"{_HERE}.gemma:read_1",
        "Gemma2ForCausalLM": f"{_HERE}.gemma:read_2",
        "Gemma3ForCausalLM": f"{_HERE}.gemma:read_3",
        "Gemma3ForConditionalGeneration": f"{_HERE}.gemma:read_3_text",
        "Gemma4ForCausalLM": f"{_HERE}.gemma4:read",
        "Gemma4ForConditionalGeneration": f"{_HERE}.gemma4:read_text",
        "Phi3ForCausalLM": f"{_HERE}.phi:read",
        "SmolLM3ForCausalLM": f"{_HERE}.smollm:read_3",
        "GptOssForCausalLM": f"{_HERE}.gpt_oss:read",
        "GraniteForCausalLM": f"{_HERE}.granite:read",
        "GraniteMoeForCausalLM": f"{_HERE}.granite:read_experts",
        "Olmo2ForCausalLM": f"{_HERE}.olmo:read_2",
        "Olmo3ForCausalLM": f"{_HERE}.olmo:read_3",
        "CohereForCausalLM": f"{_HERE}.cohere:read",
        "Cohere2ForCausalLM": f"{_HERE}.cohere:read_2",
        "Ernie4_5ForCausalLM": f"{_HERE}.ernie:read_4_5",
        "Exaone4ForCausalLM": f"{_HERE}.exaone:read_4",
        "GlmForCausalLM": f"{_HERE}.glm:read",
        "Glm4ForCausalLM": f"{_HERE}.glm:read_4",
        "HunYuanDenseV1ForCausalLM": f"{_HERE}.hunyuan:read_dense",
        "SeedOssForCausalLM": f"{_HERE}.seed_oss:read",
    },
)
_LONGEST = 2**31 - 1  # positions are int32
_OF_MODEL_TYPE = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "ministral": "MinistralForCausalLM",
    "ministral3": "Ministral3ForCausalLM",
    "mistral3": "Mistral3ForConditionalGeneration",
    "qwen2": "Qwen2ForCausalLM",
    "qwen2_moe": "Qwen2MoeForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "qwen2_vl": "Qwen2VLForConditionalGeneration",
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen3_vl": "Qwen3VLForConditionalGeneration",
    "qwen3_vl_moe": "Qwen3VLMoeForConditionalGeneration",
    "mixtral": "MixtralForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "gemma3": "Gemma3ForConditionalGeneration",
    "gemma4_text": "Gemma4ForCausalLM",
    "gemma4": "Gemma4ForConditionalGeneration",
    "phi3": "Phi3ForCausalLM",
    "smollm3": "SmolLM3ForCausalLM",
    "gpt_oss": "GptOssForCausalLM",
    "granite": "GraniteForCausalLM",
    "granitemoe": "GraniteMoeForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
    "olmo3": "Olmo3ForCausalLM",
    "cohere": "CohereForCausalLM",
    "cohere2": "Cohere2ForCausalLM",
    "ernie4_5": "Ernie4_5ForCausalLM",
    "exaone4": "Exaone4ForCausalLM",
    "glm": "GlmForCausalLM",
    "glm4": "Glm4ForCausalLM",
    "hunyuan_v1_dense": "HunYuanDenseV1ForCausalLM",
    "seed_oss": "SeedOssForCausalLM",
}


def register_family(architecture: str, read: Read, *, replace: bool = False) -> None:
    """Adds the family of models whose `config.json` names `architecture` in `architectures`.

    Raises:
        RegistryError: the architecture has a family already, and `replace` is false.
    """
    FAMILIES.register(architecture, read, replace=replace)


def read_config(directory: Path) -> ModelConfig:
    """Reads `directory/config.json`.

    Raises:
        ModelError: the file is missing or not JSON, the directory holds another kind of checkpoint, or
            `from_hugging_face` rejects the keys.
        RegistryError: an installed package with families cannot be imported, or offers a name that is taken.
    """
    check_contents(directory)
    path = directory / "config.json"
    try:
        return from_hugging_face(read_object(path))
    except ModelError as error:
        if not str(error).startswith("config.json"):
            raise
        raise ModelError(f"{directory}{os.sep}{error}") from None


def from_hugging_face(raw: dict[str, Any]) -> ModelConfig:
    """Returns the configuration of a model from `raw`, the object in a Hugging Face `config.json`.

    Raises:
        ModelError: a key is missing or wrong, or the architecture, the quantization or a setting is not supported.
        RegistryError: the family, or the form of quantised weights, comes from a package that cannot be imported. Also
            raised if an installed package offers a name that is taken.
    """
    keys = HFConfigReader(raw)
    architecture = _architecture(keys)
    if keys.has("quantization_config"):
        _check_quantization(keys.inner("quantization_config"))
    return _with_yarn_context(FAMILIES.get(architecture)(keys))


def _check_quantization(keys: HFConfigReader) -> None:
    """Raises ModelError if weights cannot be read in the form that `quantization_config` describes."""
    method = keys.word("quant_method", "unnamed")
    if method not in CHECKPOINT_FORMS:
        raise ModelError(
            f"config.json: quantization_config of method {method} is not supported; use the unquantised checkpoint, a "
            f"GGUF file, or one of {', '.join(CHECKPOINT_FORMS.names())}"
        )
    form = CHECKPOINT_FORMS.get(method)
    if isinstance(form, CheckedForm):
        form.check(keys.values)


def _with_yarn_context(model: ModelConfig) -> ModelConfig:
    """Returns the model with `max_seq_len` raised to the context that YaRN makes possible.

    Publishers' instructions add YaRN to `config.json` by hand and leave `max_position_embeddings` as it is.
    """
    ropes = {kind.rope for kind in model.kinds if kind.rope and kind.rope.kind == "yarn"}
    stretched = (min(rope.original_context * rope.factor, _LONGEST) for rope in ropes)
    return replace(model, max_seq_len=max([model.max_seq_len, *map(int, stretched)]))


def _architecture(keys: HFConfigReader) -> str:
    """Returns the name of the architecture: the first name in `architectures`, or the name that fits `model_type`.

    `model_type` decides in three cases: `architectures` is absent, names a model without a head, or differs from the
    name that fits `model_type` only in upper and lower case. `transformers` always lets `model_type` decide.

    Raises:
        ModelError: the architecture is not supported, or `model_type` belongs to another family.
    """
    named, *_ = *keys.words("architectures"), ""
    by_type = _OF_MODEL_TYPE.get(keys.word("model_type", ""))
    if named in FAMILIES:
        if by_type and FAMILIES.get(by_type) is not FAMILIES.get(named):
            raise keys.error("model_type", f"must fit architecture {named}; it is that of {by_type}")
        return named
    if by_type and (not named or named.endswith("Model") or named.lower() == by_type.lower()):
        return by_type
    if kind := kind_of_architecture(named):
        raise ModelError(f"config.json: architecture {named} is {kind}, not a chat model")
    supported = ", ".join(dict.fromkeys(name.partition("For")[0] for name in FAMILIES.names()))
    raise ModelError(f"config.json: architecture {named or 'unnamed'} is not supported; supported: {supported}")
