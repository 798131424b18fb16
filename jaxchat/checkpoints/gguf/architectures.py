"""The registry of architectures of GGUF files: how each becomes a `config.json`, and how its tensors are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jaxchat.checkpoints.gguf import families
from jaxchat.checkpoints.gguf.config import ModelKeys, base_config
from jaxchat.checkpoints.gguf.families import Config
from jaxchat.checkpoints.gguf.names import Renaming
from jaxchat.errors import ModelError
from jaxchat.registry import Registry

Change = Callable[[ModelKeys, Config], Config]
"""`change(keys, base)` returns keys of a `config.json` that replace keys in `base` or are added to `base`."""


@dataclass(frozen=True)
class Architecture:
    """An architecture in GGUF files: how its metadata and tensors differ from those of a Hugging Face checkpoint."""

    model: str  # the architecture in Hugging Face form
    change: Change = lambda keys, base: {}  # entries of `config.json` beside those that all architectures have
    names: Mapping[str, str] = field(default_factory=dict)  # see `Renaming.layer`
    reordered: bool = False  # rows of queries and keys alternate between the two halves of a head
    added_to_norms: float = 0.0  # what the conversion has added to the weights of norms
    mixed_experts: bool = False  # see `Renaming`
    partial_rope: bool = False  # may rotate only a part of each head

    @property
    def renaming(self) -> Renaming:
        """How the tensors are named."""
        return Renaming(self.names, self.reordered, self.added_to_norms, self.mixed_experts)

    def config(self, keys: ModelKeys) -> Config:
        """Returns the object for `config.json`. Raises ModelError if a key is missing, wrong or not supported."""
        config = base_config(keys, self.model)
        if not self.partial_rope and config.pop("partial_rotary_factor") != 1:
            raise keys.metadata.error(keys.name("rope.dimension_count"), f"must be {config['head_dim']}")
        return config | self.change(keys, config)


_POST_NORMS = {"post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm"}
_GEMMA_NAMES = {**_POST_NORMS, "ffn_norm": "pre_feedforward_layernorm"}


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
LLAMA = Architecture("LlamaForCausalLM", families.llama, _MIXTRAL_NAMES, reordered=True)
MISTRAL_3 = Architecture("MistralForCausalLM", families.mistral_3, reordered=True)
QWEN_2 = Architecture("Qwen2ForCausalLM", families.qwen)
QWEN_2_EXPERTS = Architecture("Qwen2MoeForCausalLM", families.qwen_2_experts)
QWEN_3 = Architecture("Qwen3ForCausalLM", families.qwen)
QWEN_3_EXPERTS = Architecture("Qwen3MoeForCausalLM", families.qwen_3_experts)
GEMMA = Architecture("GemmaForCausalLM", added_to_norms=1.0)
GEMMA_2 = Architecture("Gemma2ForCausalLM", families.gemma_2, _GEMMA_NAMES, added_to_norms=1.0)
GEMMA_3 = Architecture("Gemma3ForCausalLM", families.gemma_3, _GEMMA_NAMES, added_to_norms=1.0)
PHI_3 = Architecture("Phi3ForCausalLM", families.window, {"ffn_up": "mlp.gate_up_proj"}, partial_rope=True)
SMOLLM_3 = Architecture("SmolLM3ForCausalLM", reordered=True)
GPT_OSS = Architecture(
    "GptOssForCausalLM",
    families.gpt_oss,
    {
        "post_attention_norm": "post_attention_layernorm",
        "attn_sinks": "self_attn.sinks",
        "ffn_gate_inp": "mlp.router",
        **dict.fromkeys(("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"), ""),
    },
    mixed_experts=True,
)
GRANITE = Architecture("GraniteForCausalLM", families.granite, reordered=True)
GRANITE_EXPERTS = Architecture(
    "GraniteMoeForCausalLM",
    families.granite_experts,
    {"ffn_gate_inp": "block_sparse_moe.router.layer"},
    reordered=True,
)
OLMO_2 = Architecture("Olmo2ForCausalLM", families.olmo_2, _POST_NORMS)
COHERE = Architecture("CohereForCausalLM", families.cohere)
COHERE_2 = Architecture("Cohere2ForCausalLM", families.cohere_2)
ERNIE_4_5 = Architecture("Ernie4_5ForCausalLM", lambda keys, base: {"use_bias": keys.stores("blk.0.attn_q.bias")})
EXAONE_4 = Architecture("Exaone4ForCausalLM", families.window, _POST_NORMS)
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
SEED_OSS = Architecture("SeedOssForCausalLM", families.seed_oss, {"post_attention_norm": "post_attention_layernorm"})


def find_architecture(keys: ModelKeys) -> Architecture:
    """Returns the architecture of a file.

    Raises ModelError, which lists the supported architectures, if the file has another architecture.
    """
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
