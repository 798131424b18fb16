"""Small random checkpoints of models that also see images, written by `transformers` itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from tools.parity.checkpoints import MINISTRAL_3_ROPE, SHAPE, WINDOW, perturb

_QWEN_VISION = dict(depth=1, hidden_size=16, num_heads=2, patch_size=4, out_hidden_size=64, intermediate_size=16)
_QWEN_3_VISION = dict(_QWEN_VISION, num_position_embeddings=16, deepstack_visual_indexes=[0])
_PIXTRAL = dict(
    model_type="pixtral", num_hidden_layers=1, hidden_size=16, num_attention_heads=2, head_dim=8, intermediate_size=16
)
_PIXTRAL |= dict(patch_size=4, image_size=16)
_SECTIONS = dict(rope_type="default", rope_theta=10000.0, mrope_section=[2, 3, 3])
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "mistral 3": ("Mistral3", dict(model_type="mistral", head_dim=16, sliding_window=None), _PIXTRAL),
    "ministral 3": (
        "Mistral3",
        dict(
            model_type="ministral3",
            head_dim=16,
            rope_parameters=MINISTRAL_3_ROPE,
        ),
        _PIXTRAL,
    ),
    "qwen 2 vl": (
        "Qwen2VL",
        dict(num_attention_heads=4, rope_parameters=_SECTIONS),
        dict(depth=1, embed_dim=16, hidden_size=64, num_heads=2),
    ),
    "qwen 2.5 vl": (
        "Qwen2_5_VL",
        dict(
            num_attention_heads=4,
            rope_parameters=_SECTIONS,
            use_sliding_window=True,
            sliding_window=WINDOW,
            max_window_layers=1,
        ),
        _QWEN_VISION,
    ),
    "qwen 3 vl": (
        "Qwen3VL",
        dict(head_dim=16, rope_parameters=dict(_SECTIONS, mrope_interleaved=True)),
        _QWEN_3_VISION,
    ),
    "qwen 3 vl with experts": (
        "Qwen3VLMoe",
        dict(
            head_dim=16,
            num_experts=6,
            num_experts_per_tok=3,
            moe_intermediate_size=24,
            mlp_only_layers=[1],
            rope_parameters=dict(_SECTIONS, mrope_interleaved=True),
        ),
        _QWEN_3_VISION,
    ),
}
"""By case: the `transformers` family, changes to `SHAPE` for the text part, and the vision part's configuration."""


def write(directory: Path, case: str, *, tied: bool = False, published: bool = True) -> torch.nn.Module:
    """Writes the checkpoint of a case and returns its torch model.

    Args:
        directory: the model directory.
        case: the key in `CASES`.
        tied: whether the embedding serves as head.
        published: whether parameters have the names and layouts of published checkpoints. Otherwise they have those of
            `transformers` 5.
    """
    kind, text, vision = CASES[case]
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    settings = {**SHAPE, **text, "tie_word_embeddings": tied}
    config = getattr(transformers, f"{kind}Config")(
        text_config=settings, vision_config=vision, tie_word_embeddings=tied
    )
    config._attn_implementation = "eager"
    model = getattr(transformers, f"{kind}ForConditionalGeneration")(config).eval()
    perturb(model)
    model.save_pretrained(directory, save_original_format=published)
    return model
