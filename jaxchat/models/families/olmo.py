"""OLMo 2 (arXiv 2501.00656): Llama with norms after each half of a block, and over queries and keys of all heads."""

from __future__ import annotations

from jaxchat.models.config import ModelConfig
from jaxchat.models.families.common import kinds, rope, same_windows, sizes
from jaxchat.models.hf_config import HFConfigReader

_DEFAULTS = dict(rms_norm_eps=1e-5)


def read_2(keys: HFConfigReader) -> ModelConfig:
    """Reads `Olmo2ForCausalLM`."""
    keys, bias = keys.or_else(_DEFAULTS), keys.flag("attention_bias")
    return ModelConfig(
        **sizes(keys),
        kinds=kinds(rope(keys), same_windows(keys, 0)),
        qk_norm=True,
        qk_norm_whole=True,
        pre_norms=False,
        post_norms=True,
        qkv_bias=bias,
        out_bias=bias,
    )
