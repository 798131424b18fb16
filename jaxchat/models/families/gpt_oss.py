"""gpt-oss (arXiv 2508.10925): experts with biases and a bounded gate, attention sinks, a window in every other layer.

Its checkpoints are published in MXFP4, see `checkpoints.forms.mxfp4`.
"""

from __future__ import annotations

from jaxchat.models.config import Clamp, Experts, LayerKind, ModelConfig, Names
from jaxchat.models.families.common import optional_window, rope, sizes, windows
from jaxchat.models.hf_config import HFConfigReader

_NAMES = Names(router="mlp.router", stacking="alternating")
_DEFAULTS = dict(
    num_key_value_heads=8, head_dim=64, max_position_embeddings=131_072, rms_norm_eps=1e-5, sliding_window=128
)
_ROPE = dict(rope_type="yarn", factor=32.0, truncate=False, original_max_position_embeddings=4096)


def read(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `GptOssForCausalLM`. Raises ModelError if a key is missing or wrong."""
    keys = keys.or_else(_DEFAULTS)
    if not keys.has("rope_parameters") and not len(keys.inner("rope_scaling")):
        keys = keys.replaced(dict(rope_parameters=_ROPE))
    layers, bias = keys.integer("num_hidden_layers"), keys.flag("attention_bias", True)
    every_other = tuple(index % 2 == 0 for index in range(layers))
    rope_tables = rope(keys, 150_000.0)
    return ModelConfig(
        **sizes(keys),
        kinds=tuple(
            LayerKind(rope=rope_tables, window=window, sparse=True)
            for window in windows(keys, every_other, optional_window(keys))
        ),
        qkv_bias=bias,
        out_bias=bias,
        sinks=True,
        experts=Experts(
            count=keys.integer("num_local_experts", 128),
            top_k=keys.integer("num_experts_per_tok", 4),
            mlp_dim=keys.integer("intermediate_size"),
            bias=True,
            clamp=Clamp(
                alpha=keys.number("swiglu_alpha", 1.702),
                limit=keys.number("swiglu_limit", 7.0, positive=True),
            ),
        ),
        names=_NAMES,
    )
