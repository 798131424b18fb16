"""Small random checkpoints in Hugging Face form, written by `transformers` itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

SHAPE = dict(
    vocab_size=199,
    hidden_size=64,
    intermediate_size=112,
    num_hidden_layers=3,
    num_attention_heads=8,
    num_key_value_heads=2,
    max_position_embeddings=512,
)
LLAMA3_ROPE = dict(
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
    rope_theta=500000.0,
)
YARN_ROPE = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=128, rope_theta=10000.0)
LINEAR_ROPE = dict(rope_type="linear", factor=2.0, rope_theta=10000.0)


def write(directory: Path, kind: str, *, shard: str = "50GB", **changes: Any) -> torch.nn.Module:
    """Writes a random checkpoint of `kind` ("Llama" or "Qwen2") and returns the torch model that wrote it."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**{**SHAPE, **changes})
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):  # their start values, one and zero, would hide mistakes
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(directory, max_shard_size=shard)
    return model


def logits(model: torch.nn.Module, tokens: list[int]) -> Any:
    """Logits f32 `[T, V]` of one sequence as a NumPy array."""
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].numpy()
