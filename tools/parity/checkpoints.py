"""Small random checkpoints in Hugging Face form, one for each family, written by `transformers` itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers

VOCAB = 199
SHAPE = dict(
    vocab_size=VOCAB,
    hidden_size=64,
    intermediate_size=112,
    num_hidden_layers=3,
    num_attention_heads=8,
    num_key_value_heads=2,
    max_position_embeddings=512,
    initializer_range=0.15,  # larger than usual, because nearly uniform attention would hide mistakes
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    tie_word_embeddings=False,
)
WINDOW = 40  # shorter than the prompts and a block of attention, and not a multiple of any size
EXPERT = 0.2  # factor of the experts' outputs: rounding may decide between two nearly equal experts
QUERY = 0.25  # factor of queries that only a norm scales: sharper attention would enlarge rounding errors
LLAMA3_ROPE = dict(
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
    rope_theta=500000.0,
)
YARN_ROPE = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=128, rope_theta=10000.0)
MINISTRAL_3_ROPE = dict(
    YARN_ROPE, original_max_position_embeddings=48, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.3
)
LINEAR_ROPE = dict(rope_type="linear", factor=2.0, rope_theta=10000.0)
DUAL_ROPE = dict(
    full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1000000.0),
    sliding_attention=dict(rope_type="default", rope_theta=10000.0),
)


def long_rope(original: int, **given: float) -> dict[str, Any]:
    """Returns entries of `config.json` for LongRoPE over 12 of the 16 dimensions of a head.

    Args:
        original: number of tokens up to which a sequence uses `short_factor`. Longer sequences use `long_factor`.
        given: further entries of `rope_parameters`.
    """
    return dict(
        initializer_range=0.1,  # scores are multiplied by the square of the attention factor
        original_max_position_embeddings=original,
        num_attention_heads=4,
        partial_rotary_factor=0.75,
        rope_parameters=dict(
            rope_type="longrope",
            rope_theta=10000.0,
            partial_rotary_factor=0.75,
            short_factor=[1.0, 1.1, 1.2, 1.3, 1.5, 2.0],
            long_factor=[1.5, 2.0, 3.0, 4.0, 6.0, 8.0],
            **given,
        ),
    )


_GEMMA_4 = dict(
    tie_word_embeddings=True,
    head_dim=16,
    global_head_dim=32,
    num_key_value_heads=4,
    sliding_window=WINDOW,
    hidden_size_per_layer_input=0,
    final_logit_softcapping=3.0,
    initializer_range=0.1,
)
_MIXED = ["sliding_attention", "sliding_attention", "full_attention"] * 2
_GEMMA = dict(head_dim=16, sliding_window=WINDOW, query_pre_attn_scalar=24, tie_word_embeddings=True)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama 2": ("Llama", dict(num_key_value_heads=8)),
    "llama 3": ("Llama", dict(rope_parameters=LLAMA3_ROPE, rms_norm_eps=1e-5)),
    "llama, yarn, tied": ("Llama", dict(rope_parameters=YARN_ROPE, tie_word_embeddings=True)),
    "llama, linear, biases": (
        "Llama",
        dict(rope_parameters=LINEAR_ROPE, attention_bias=True, mlp_bias=True, head_dim=16),
    ),
    "mistral": ("Mistral", dict(sliding_window=WINDOW, head_dim=16)),
    "mistral, no window": ("Mistral", dict(sliding_window=None)),
    "ministral": (
        "Ministral",
        dict(
            head_dim=16, sliding_window=WINDOW, layer_types=["sliding_attention", "full_attention", "sliding_attention"]
        ),
    ),
    "qwen 2": ("Qwen2", dict(tie_word_embeddings=True)),
    "qwen 2, window": ("Qwen2", dict(use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1)),
    "qwen 3": ("Qwen3", dict(head_dim=32, tie_word_embeddings=True)),
    "qwen 2 with experts": (
        "Qwen2Moe",
        dict(
            num_experts=6,
            num_experts_per_tok=3,
            moe_intermediate_size=24,
            shared_expert_intermediate_size=48,
            mlp_only_layers=[1],
        ),
    ),
    "gemma 1": ("Gemma", dict(head_dim=32, num_key_value_heads=1, tie_word_embeddings=True)),
    "gemma 2": ("Gemma2", dict(**_GEMMA, attn_logit_softcapping=5.0, final_logit_softcapping=3.0)),
    "gemma 3": ("Gemma3Text", dict(**_GEMMA, num_hidden_layers=7, rope_parameters=DUAL_ROPE)),
    "gemma 4": (
        "Gemma4Text",
        dict(**_GEMMA_4, num_hidden_layers=6, attention_k_eq_v=True, num_global_key_value_heads=2, layer_types=_MIXED),
    ),
    "gemma 4, shared keys": (
        "Gemma4Text",
        {
            **_GEMMA_4,
            "num_hidden_layers": 7,
            "num_key_value_heads": 2,
            "num_kv_shared_layers": 3,
            "use_double_wide_mlp": True,
            "layer_types": [*_MIXED, "full_attention"],
            "hidden_size_per_layer_input": 12,
            "vocab_size_per_layer_input": VOCAB,
        },
    ),
    "gemma 4 with experts": (
        "Gemma4Text",
        dict(
            **_GEMMA_4,
            num_hidden_layers=3,
            layer_types=_MIXED[:3],
            attention_k_eq_v=True,
            num_global_key_value_heads=2,
            enable_moe_block=True,
            num_experts=6,
            top_k_experts=3,
            moe_intermediate_size=24,
        ),
    ),
    "phi 3": ("Phi3", dict(sliding_window=WINDOW)),
    "phi 4, short": ("Phi3", long_rope(256)),
    "phi 4, long": ("Phi3", long_rope(4, attention_factor=1.19)),
    "olmo 2": ("Olmo2", dict(num_key_value_heads=8)),
    "granite 3": (
        "Granite",
        dict(
            embedding_multiplier=1.5,
            attention_multiplier=0.15,
            residual_multiplier=0.6,
            logits_scaling=8.0,
        ),
    ),
    "smollm 3": ("SmolLM3", dict(num_hidden_layers=5, tie_word_embeddings=True)),
    "mixtral": ("Mixtral", dict(num_local_experts=5, num_experts_per_tok=2, sliding_window=None)),
    "ministral 3": (
        "Ministral3",
        dict(initializer_range=0.1, head_dim=16, rope_parameters=MINISTRAL_3_ROPE),  # scores are multiplied twice
    ),
    "olmo 3": (
        "Olmo3",
        dict(
            num_key_value_heads=8,
            num_hidden_layers=5,
            sliding_window=WINDOW,
            rope_parameters=dict(
                full_attention=dict(YARN_ROPE, rope_theta=500000.0),
                sliding_attention=dict(rope_type="default", rope_theta=500000.0),
            ),
        ),
    ),
    "exaone 4": ("Exaone4", dict(num_hidden_layers=5, sliding_window=WINDOW, rope_parameters=LLAMA3_ROPE)),
    "exaone 4, no window": ("Exaone4", dict(sliding_window=None, layer_types=["full_attention"] * 3)),
    "seed-oss": ("SeedOss", dict(head_dim=16, attention_out_bias=True)),
    "hunyuan": (
        "HunYuanDenseV1",
        dict(
            head_dim=16,
            tie_word_embeddings=True,
            rope_parameters=dict(rope_type="dynamic", alpha=50.0, factor=1.0, rope_theta=10000.0),
        ),
    ),
    "glm": ("Glm", dict(head_dim=16)),
    "glm 4": ("Glm4", dict(head_dim=16)),
    "ernie 4.5": ("Ernie4_5", dict(head_dim=16, use_bias=True, tie_word_embeddings=True)),
    "command r": ("Cohere", dict(tie_word_embeddings=True)),
    "command r7b": ("Cohere2", dict(num_hidden_layers=5, sliding_window=WINDOW, tie_word_embeddings=True)),
    "granite 3 with experts": (
        "GraniteMoe",
        dict(
            num_local_experts=5,
            num_experts_per_tok=2,
            embedding_multiplier=1.5,
            attention_multiplier=0.15,
            residual_multiplier=0.6,
            logits_scaling=8.0,
        ),
    ),
    "qwen 3, whole experts": (
        "Qwen3Moe",
        dict(num_experts=8, num_experts_per_tok=3, moe_intermediate_size=20, head_dim=16, norm_topk_prob=True),
    ),
    "qwen 3 with experts": (
        "Qwen3Moe",
        dict(
            num_experts=6,
            num_experts_per_tok=3,
            moe_intermediate_size=24,
            head_dim=16,
            mlp_only_layers=[1],
            norm_topk_prob=True,
        ),
    ),
    "gpt-oss": (
        "GptOss",
        dict(
            num_local_experts=6,
            num_experts_per_tok=3,
            head_dim=16,
            num_hidden_layers=4,
            sliding_window=WINDOW,
            swiglu_limit=1.5,  # low enough to cut something off
            rope_parameters=dict(YARN_ROPE, truncate=False),
        ),
    ),
    "qwen 3 with experts, shares": (
        "Qwen3Moe",
        dict(num_experts=6, num_experts_per_tok=3, moe_intermediate_size=24, head_dim=16, norm_topk_prob=False),
    ),
}
WHOLE = ("qwen 3, whole experts",)
"""Cases in which each device has whole experts, in place of a part of every expert."""
_NORM_OF_EXPERTS = "post_feedforward_layernorm_2.weight"  # in Gemma 4, undoes a scaling of `down_proj`
_MODEL_OF = {"Gemma3Text": "Gemma3", "Gemma4Text": "Gemma4"}


def write(directory: Path, case: str, *, shard: str = "50GB") -> torch.nn.Module:
    """Writes the checkpoint of a case and returns its torch model.

    Args:
        directory: the model directory.
        case: the key in `CASES`.
        shard: maximum size of a file of weights.
    """
    kind, changes = CASES[case]
    return write_model(directory, kind, shard=shard, **changes)


def write_model(directory: Path, kind: str, *, shard: str = "50GB", **changes: Any) -> torch.nn.Module:
    """Writes a random checkpoint and returns its torch model.

    Args:
        directory: the model directory.
        kind: the prefix of the family's class names in `transformers`, such as `Qwen2`.
        shard: maximum size of a file of weights.
        changes: entries of the configuration that replace or extend `SHAPE`.
    """
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**{**SHAPE, **changes})
    config._attn_implementation = "eager"  # the only implementation that supports every family's scores
    model = getattr(transformers, f"{_MODEL_OF.get(kind, kind)}ForCausalLM")(config).eval()
    perturb(model)
    model.save_pretrained(directory, max_shard_size=shard)
    return model


def perturb(model: torch.nn.Module) -> None:
    """Changes parameters whose initial values would hide mistakes.

    Scales the outputs of experts by `EXPERT`, and the queries of Gemma 4 by `QUERY`.
    """
    with torch.no_grad():
        for parameter in _hidden_by_their_start(model):
            parameter.add_(0.3 * torch.randn_like(parameter))
        for name, parameter in model.named_parameters():
            if "experts.down_proj" in name or name.endswith(_NORM_OF_EXPERTS):
                parameter.mul_(EXPERT)
            if "Gemma4" in type(model).__name__ and "q_norm" in name:
                parameter.mul_(QUERY)


def logits(model: torch.nn.Module, tokens: list[int]) -> Any:
    """Returns the logits of a sequence of token ids, NumPy f32 `[T, V]`."""
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].float().numpy()


def _hidden_by_their_start(model: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    """Yields the parameters whose initial values, one or zero, would hide mistakes."""
    for name, parameter in model.named_parameters():
        if "norm" in name or name.endswith(("bias", "sinks", "scale")):
            yield parameter
    yield from (buffer for name, buffer in model.named_buffers() if name.endswith("layer_scalar"))
