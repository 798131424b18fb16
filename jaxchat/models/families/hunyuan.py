"""Hunyuan: Llama that normalises queries and keys after their rotation. A setting may enlarge the rotary base."""

from __future__ import annotations

from dataclasses import replace

from jaxchat.models.config import ModelConfig, Names
from jaxchat.models.families.common import kinds, rope, same_windows, sizes
from jaxchat.models.hf_config import HFConfigReader
from jaxchat.models.rope import RopeConfig

_NAMES = Names(qk_norms=("query_layernorm", "key_layernorm"))
_DEFAULTS = dict(rms_norm_eps=1e-5)


def read_dense(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `HunYuanDenseV1ForCausalLM`. Raises ModelError if a key is missing or wrong."""
    keys = keys.or_else(_DEFAULTS)
    settings, bias = sizes(keys), keys.flag("attention_bias")
    return ModelConfig(
        **settings,
        kinds=kinds(_stretched(keys, rope(keys), settings["head_dim"]), same_windows(keys, 0)),
        qk_norm=True,
        qk_norm_last=True,
        qkv_bias=bias,
        out_bias=bias,
        names=_NAMES,
    )


def _stretched(keys: HFConfigReader, config: RopeConfig, head_dim: int) -> RopeConfig:
    """Returns `config`. If the rope type is "dynamic" and `alpha` is set, multiplies the base by a power of `alpha`."""
    settings = keys.inner("rope_scaling") if len(keys.inner("rope_scaling")) else keys.inner("rope_parameters")
    alpha = settings.number("alpha", 0.0)
    if settings.word("rope_type", settings.word("type", "")) != "dynamic" or not alpha:
        return config
    return replace(config, theta=config.theta * alpha ** (head_dim / (head_dim - 2)))
