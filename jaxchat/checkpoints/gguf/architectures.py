"""The registry of architectures of GGUF files: how each becomes a `config.json`, and how its tensors are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxchat.checkpoints.gguf.config import ModelKeys, base_config, experts, windows
from jaxchat.checkpoints.gguf.names import Renaming
from jaxchat.errors import ModelError
from jaxchat.registry import Registry

Config = dict[str, Any]  # the object in a `config.json`
Change = Callable[[ModelKeys, Config], Config]
"""`change(keys, base)` returns the keys of a `config.json` that replace or add to those of `base_config`."""


@dataclass(frozen=True)
class Architecture:
    """An architecture in GGUF files."""

    model: str  # the architecture in Hugging Face form
    change: Change = lambda keys, base: {}
    names: Mapping[str, str] = field(default_factory=dict)  # see `Renaming.layer`
    reordered: bool = False
    added_to_norms: float = 0.0
    mixed_experts: bool = False
    partial_rope: bool = False  # may rotate only a part of each head

    @property
    def renaming(self) -> Renaming:
        """How the tensors are named."""
        return Renaming(self.names, self.reordered, self.added_to_norms, self.mixed_experts)

    def config(self, keys: ModelKeys) -> Config:
        """Returns the object for `config.json`. Raises ModelError if a key is missing, wrong or not supported."""
        config = base_config(keys, self.model)
        if config["partial_rotary_factor"] == 1:
            del config["partial_rotary_factor"]
        elif not self.partial_rope:
            raise keys.metadata.error(keys.name("rope.dimension_count"), f"must be {config['head_dim']}")
        return config | self.change(keys, config)


_POST_NORMS = {"post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm"}
_GEMMA_NAMES = {**_POST_NORMS, "ffn_norm": "pre_feedforward_layernorm"}
_LAYERS_OF_GEMMA_2_27B, _LAYERS_OF_GEMMA_3_27B = 46, 62


def _llama(keys: ModelKeys, base: Config) -> Config:
    if not keys.has("expert_count") or not keys.integer("expert_count"):
        keys.metadata.ignore(keys.name("expert_used_count"))
        return {}
    return {"architectures": ["MixtralForCausalLM"], **experts(keys, "num_local_experts"), "sliding_window": None}


def _mistral_3(keys: ModelKeys, base: Config) -> Config:
    if not keys.has("attention.temperature_scale"):
        return {"sliding_window": None}
    return {"architectures": ["Ministral3ForCausalLM"], "rope_scaling": _with_query_scale(keys, base)}


def _with_query_scale(keys: ModelKeys, base: Config) -> Config:
    scale = keys.number("rope.scaling.yarn_log_multiplier", 0.0)
    return base.get("rope_scaling", {}) | {
        "mscale": 1.0,
        "mscale_all_dim": scale,
        "llama_4_scaling_beta": keys.number("attention.temperature_scale"),
    }


def _qwen_2(keys: ModelKeys, base: Config) -> Config:
    return {"use_sliding_window": False, "sliding_window": None}


def _qwen_2_experts(keys: ModelKeys, base: Config) -> Config:
    return {
        **_qwen_2(keys, base),
        **experts(keys, "num_experts"),
        "moe_intermediate_size": keys.integer("expert_feed_forward_length", _expert_dim(keys)),
        "shared_expert_intermediate_size": keys.integer(
            "expert_shared_feed_forward_length", keys.shape("blk.0.ffn_gate_shexp.weight")[0]
        ),
        "norm_topk_prob": False,
        "qkv_bias": keys.stores("blk.0.attn_q.bias"),
    }


def _qwen_3_experts(keys: ModelKeys, base: Config) -> Config:
    return {
        **_qwen_2(keys, base),
        **experts(keys, "num_experts"),
        "moe_intermediate_size": keys.integer("expert_feed_forward_length", _expert_dim(keys)),
        "norm_topk_prob": True,
    }


def _expert_dim(keys: ModelKeys) -> int:
    return keys.shape("blk.0.ffn_gate_exps.weight")[1]


def _gemma_2(keys: ModelKeys, base: Config) -> Config:
    return {
        "query_pre_attn_scalar": _query_scalar(keys, _LAYERS_OF_GEMMA_2_27B),
        "attn_logit_softcapping": keys.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": keys.number("final_logit_softcapping", 30.0),
        **windows(keys, {}),
    }


def _gemma_3(keys: ModelKeys, base: Config) -> Config:
    return {
        "query_pre_attn_scalar": _query_scalar(keys, _LAYERS_OF_GEMMA_3_27B),
        "final_logit_softcapping": keys.number("final_logit_softcapping", 0.0),
        "rope_theta": keys.number("rope.freq_base", 1e6),
        "rope_local_base_freq": keys.number("rope.freq_base_swa", 1e4),
        **windows(keys, {"sliding_window_pattern": 6}),
    }


def _query_scalar(keys: ModelKeys, exception: int) -> int:
    """Returns the number whose root divides attention scores: the head dimension, except in the models with 27 B.

    The files lack this setting; their readers tell these models by the number of layers.
    """
    if keys.integer("block_count") == exception:
        return keys.integer("embedding_length") // keys.integer("attention.head_count")
    return keys.integer("attention.key_length")


def _phi_3(keys: ModelKeys, base: Config) -> Config:
    return windows(keys, {})


def _gpt_oss(keys: ModelKeys, base: Config) -> Config:
    return {
        **experts(keys, "num_local_experts"),
        "intermediate_size": keys.integer("expert_feed_forward_length", _expert_dim(keys)),
        "rope_scaling": base.get("rope_scaling", {}) | {"truncate": False},
        **windows(keys, {}),
    }


def _granite(keys: ModelKeys, base: Config) -> Config:
    return {
        "embedding_multiplier": keys.number("embedding_scale", 1.0),
        "attention_multiplier": keys.number("attention.scale", 1.0),
        "residual_multiplier": keys.number("residual_scale", 1.0),
        "logits_scaling": keys.number("logit_scale", 1.0),
    }


def _granite_experts(keys: ModelKeys, base: Config) -> Config:
    if keys.has("expert_shared_feed_forward_length"):
        raise ModelError(f"{keys.file.path}: shared experts of granitemoe are not supported")
    return {**_granite(keys, base), **experts(keys, "num_local_experts")}


def _olmo_2(keys: ModelKeys, base: Config) -> Config:
    found = windows(keys, {})
    if not found["sliding_window"]:
        return {}
    plain = {"rope_theta": base["rope_theta"], "rope_type": "default"}
    local = plain | {"rope_theta": keys.number("rope.freq_base_swa", base["rope_theta"])}
    parameters = {"full_attention": plain | base.get("rope_scaling", {}), "sliding_attention": local}
    rope = {"rope_theta": None, "rope_scaling": None, "rope_parameters": parameters}
    return {"architectures": ["Olmo3ForCausalLM"], **found, **rope}


def _cohere(keys: ModelKeys, base: Config) -> Config:
    return {
        "layer_norm_eps": keys.number("attention.layer_norm_epsilon"),
        "logit_scale": keys.number("logit_scale"),
    }


def _cohere_2(keys: ModelKeys, base: Config) -> Config:
    return {**_cohere(keys, base), **windows(keys, {"sliding_window_pattern": 4})}


def _exaone_4(keys: ModelKeys, base: Config) -> Config:
    return windows(keys, {})


def _seed_oss(keys: ModelKeys, base: Config) -> Config:
    return {"attention_out_bias": keys.stores("blk.0.attn_output.bias")}


ARCHITECTURES: Registry[Architecture] = Registry(
    "GGUF architecture",
    "jaxchat.gguf_architectures",
    {
        name: f"{__name__}:{constant}"
        for name, constant in {
            "llama": "LLAMA",
            "mistral3": "MISTRAL_3",
            "qwen2": "QWEN_2",
            "qwen2moe": "QWEN_2_EXPERTS",
            "qwen3": "QWEN_3",
            "qwen3moe": "QWEN_3_EXPERTS",
            "gemma": "GEMMA",
            "gemma2": "GEMMA_2",
            "gemma3": "GEMMA_3",
            "phi3": "PHI_3",
            "smollm3": "SMOLLM_3",
            "gpt-oss": "GPT_OSS",
            "granite": "GRANITE",
            "granitemoe": "GRANITE_EXPERTS",
            "olmo2": "OLMO_2",
            "command-r": "COHERE",
            "cohere2": "COHERE_2",
            "ernie4_5": "ERNIE_4_5",
            "exaone4": "EXAONE_4",
            "glm4": "GLM_4",
            "hunyuan-dense": "HUNYUAN",
            "seed_oss": "SEED_OSS",
        }.items()
    },
)
_MIXTRAL_NAMES = {
    "ffn_gate_inp": "block_sparse_moe.gate",
    "ffn_gate_exps": "block_sparse_moe.experts.{}.w1",
    "ffn_up_exps": "block_sparse_moe.experts.{}.w3",
    "ffn_down_exps": "block_sparse_moe.experts.{}.w2",
}
LLAMA = Architecture("LlamaForCausalLM", _llama, _MIXTRAL_NAMES, reordered=True)
MISTRAL_3 = Architecture("MistralForCausalLM", _mistral_3, reordered=True)
QWEN_2 = Architecture("Qwen2ForCausalLM", _qwen_2)
QWEN_2_EXPERTS = Architecture("Qwen2MoeForCausalLM", _qwen_2_experts)
QWEN_3 = Architecture("Qwen3ForCausalLM", _qwen_2)
QWEN_3_EXPERTS = Architecture("Qwen3MoeForCausalLM", _qwen_3_experts)
GEMMA = Architecture("GemmaForCausalLM", added_to_norms=1.0)
GEMMA_2 = Architecture("Gemma2ForCausalLM", _gemma_2, _GEMMA_NAMES, added_to_norms=1.0)
GEMMA_3 = Architecture("Gemma3ForCausalLM", _gemma_3, _GEMMA_NAMES, added_to_norms=1.0)
PHI_3 = Architecture("Phi3ForCausalLM", _phi_3, {"ffn_up": "mlp.gate_up_proj"}, partial_rope=True)
SMOLLM_3 = Architecture("SmolLM3ForCausalLM", reordered=True)
GPT_OSS = Architecture(
    "GptOssForCausalLM",
    _gpt_oss,
    {
        "post_attention_norm": "post_attention_layernorm",
        "attn_sinks": "self_attn.sinks",
        "ffn_gate_inp": "mlp.router",
        **dict.fromkeys(("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"), ""),
    },
    mixed_experts=True,
)
GRANITE = Architecture("GraniteForCausalLM", _granite, reordered=True)
GRANITE_EXPERTS = Architecture(
    "GraniteMoeForCausalLM",
    _granite_experts,
    {"ffn_gate_inp": "block_sparse_moe.router.layer"},
    reordered=True,
)
OLMO_2 = Architecture("Olmo2ForCausalLM", _olmo_2, _POST_NORMS)
COHERE = Architecture("CohereForCausalLM", _cohere)
COHERE_2 = Architecture("Cohere2ForCausalLM", _cohere_2)
ERNIE_4_5 = Architecture("Ernie4_5ForCausalLM", lambda keys, base: {"use_bias": keys.stores("blk.0.attn_q.bias")})
EXAONE_4 = Architecture("Exaone4ForCausalLM", _exaone_4, _POST_NORMS)
GLM_4 = Architecture(
    "Glm4ForCausalLM",
    names={
        "ffn_up": "mlp.gate_up_proj",
        "post_attention_norm": "post_self_attn_layernorm",
        "post_ffw_norm": "post_mlp_layernorm",
    },
    partial_rope=True,
)
HUNYUAN = Architecture(
    "HunYuanDenseV1ForCausalLM",
    names={"attn_q_norm": "self_attn.query_layernorm", "attn_k_norm": "self_attn.key_layernorm"},
)
SEED_OSS = Architecture("SeedOssForCausalLM", _seed_oss, {"post_attention_norm": "post_attention_layernorm"})


def find_architecture(keys: ModelKeys) -> Architecture:
    """Returns the architecture of a file. Raises ModelError, which lists the known ones, if it is not supported."""
    if keys.architecture not in ARCHITECTURES:
        supported = ", ".join(ARCHITECTURES.names())
        raise ModelError(
            f"{keys.file.path}: architecture {keys.architecture} is not supported in GGUF files; supported: {supported}"
        )
    return ARCHITECTURES.get(keys.architecture)


def register_gguf_architecture(name: str, architecture: Architecture, *, replace: bool = False) -> None:
    """Adds the architecture of GGUF files whose `general.architecture` is `name`.

    Raises:
        RegistryError: the name is taken, and `replace` is false.
    """
    ARCHITECTURES.register(name, architecture, replace=replace)
