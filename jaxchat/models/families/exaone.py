"""EXAONE 4 (arXiv 2507.11407): norms after the attention and MLP sublayers, and of queries and keys.

If some layers of a model have a sliding window, its other layers have no positional embedding.
"""

from __future__ import annotations

from jaxchat.models.config import LayerKind, ModelConfig
from jaxchat.models.families.common import optional_window, rope, sizes, windows
from jaxchat.models.hf_config import HFConfigReader

_DEFAULTS = dict(num_key_value_heads=32, rms_norm_eps=1e-5, sliding_window=4096)


def read_4(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `Exaone4ForCausalLM`. Raises ModelError if a key is missing or wrong."""
    keys = keys.or_else(_DEFAULTS)
    return ModelConfig(**sizes(keys), kinds=_kinds(keys), qk_norm=True, pre_norms=False, post_norms=True)


def _kinds(keys: HFConfigReader) -> tuple[LayerKind, ...]:
    layers, window = keys.integer("num_hidden_layers"), optional_window(keys)
    sliding = (False,) * layers
    if window and not keys.words("layer_types"):  # otherwise the pattern has no effect, and may be a string
        every = keys.integer("sliding_window_pattern", 4)
        sliding = tuple((index + 1) % every != 0 for index in range(layers))
    rope_tables, window_sizes = rope(keys), windows(keys, sliding, window)
    return tuple(LayerKind(rope=rope_tables if size or not window else None, window=size) for size in window_sizes)
