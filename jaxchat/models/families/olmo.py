"""OLMo 2 (arXiv 2501.00656): Llama with norms after the attention and MLP sublayers instead of before them.

Queries and keys are normalised across all heads at once. In OLMo 3 most layers have a sliding window. RoPE scaling
applies only to layers without a window.
"""

from __future__ import annotations

from jaxchat.models.config import LayerKind, ModelConfig
from jaxchat.models.families.common import kinds, rope, rope_by_type, same_windows, sizes, windows
from jaxchat.models.hf_config import HFConfigReader

_DEFAULTS = dict(rms_norm_eps=1e-5)
_DEFAULTS_3 = _DEFAULTS | dict(sliding_window=4096)
_BASE_3 = 500_000.0


def read_2(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `Olmo2ForCausalLM`. Raises ModelError if a key is missing or wrong."""
    keys = keys.or_else(_DEFAULTS)
    return _with_layers(keys, kinds(rope(keys), same_windows(keys, 0)))


def read_3(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `Olmo3ForCausalLM`.

    Raises ModelError if a key is missing or wrong, or the rotary base is ambiguous.
    """
    keys = keys.or_else(_DEFAULTS_3)
    sliding = tuple((index + 1) % 4 != 0 for index in range(keys.integer("num_hidden_layers")))
    window_sizes = windows(keys, sliding, keys.integer("sliding_window"))
    own_base = keys.inner("rope_parameters").inner("sliding_attention").has("rope_theta")
    if keys.number("rope_theta", _BASE_3, positive=True) != _BASE_3 and not own_base:
        # `transformers` applies it to layers without a window only.
        raise keys.error("rope_theta", "must be in rope_parameters.full_attention and .sliding_attention instead")
    full, local = rope_by_type(keys, _BASE_3, _BASE_3)
    return _with_layers(
        keys, tuple(LayerKind(rope=local if window else full, window=window) for window in window_sizes)
    )


def _with_layers(keys: HFConfigReader, layers: tuple[LayerKind, ...]) -> ModelConfig:
    bias = keys.flag("attention_bias")
    return ModelConfig(
        **sizes(keys),
        kinds=layers,
        qk_norm=True,
        qk_norm_whole=True,
        pre_norms=False,
        post_norms=True,
        qkv_bias=bias,
        out_bias=bias,
    )
