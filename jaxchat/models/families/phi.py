"""Phi 3, 3.5 and 4: Llama with fused matrices, often with LongRoPE. Small models rotate only a part of each head."""

from __future__ import annotations

from jaxchat.errors import ModelError
from jaxchat.models.config import ModelConfig, Names
from jaxchat.models.families.common import kinds, optional_window, rope, same_windows, sizes
from jaxchat.models.hf_config import HFConfigReader

_NAMES = Names(fused_qkv=True, fused_gate_up=True, others=(Names(),))  # tools that fine-tune store them apart
_DEFAULTS = dict(max_position_embeddings=4096, original_max_position_embeddings=4096, rms_norm_eps=1e-5)


def read(keys: HFConfigReader) -> ModelConfig:
    """Reads the configuration of `Phi3ForCausalLM`.

    Raises ModelError if a key is missing or wrong, or the rope type is not supported.
    """
    keys = keys.or_else(_DEFAULTS)
    rope_tables = rope(keys, partial=True)
    if rope_tables.kind not in ("default", "longrope"):
        raise ModelError(f"config.json: rope type {rope_tables.kind!r} is not supported for this family")
    return ModelConfig(
        **sizes(keys),
        kinds=kinds(rope_tables, same_windows(keys, optional_window(keys))),
        names=_NAMES,
    )
