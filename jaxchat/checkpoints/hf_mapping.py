"""Maps Hugging Face tensors to the decoder's parameters, and parameters to the axes along which they may be split."""

from __future__ import annotations

from jaxchat.checkpoints.tensor_slices import Parameter, biases, entries, matrices, matrix, plain, rows, stacked
from jaxchat.models.config import Experts, ModelConfig

Path = tuple[str, ...]


def parameters(config: ModelConfig, prefix: str = "model.") -> dict[Path, Parameter]:
    """Returns every parameter of the decoder and its stored tensors, in the order of the forward pass.

    `prefix` begins all stored names except that of the head.
    """
    c = config
    table: dict[Path, Parameter] = {("embed",): plain(f"{prefix}embed_tokens.weight", c.vocab_size, c.embed_dim)}
    for index in range(c.num_layers):
        table |= {(f"layer_{index}", *path): found for path, found in _layer(c, index, prefix).items()}
    table[("norm", "scale")] = plain(f"{prefix}norm.weight", c.embed_dim)
    if not c.tie_embeddings:
        table[("head",)] = matrix("lm_head.weight", (c.embed_dim,), (c.vocab_size,))
    return table


def unused(config: ModelConfig, name: str) -> bool:
    """Returns whether a stored tensor may exist although it belongs to no parameter."""
    tie_embeddings = config.tie_embeddings and name == "lm_head.weight"
    return tie_embeddings or name.endswith("rotary_emb.inv_freq") or name.startswith(config.names.ignored)


def axes(path: Path) -> tuple[str | None, ...]:
    """Returns the logical axis names of a parameter, which mesh rules map to devices. None is never split."""
    return _AXES[path[-1]]


_AXES: dict[str, tuple[str | None, ...]] = {
    "embed": ("vocab", None),
    "head": (None, "vocab"),
    "scale": (None,),
    "qkv": (None, "kv_heads", None, None),
    "qkv_bias": ("kv_heads", None, None),
    "out": ("kv_heads", None, None, None),
    "out_bias": (None,),
    "gate_up": (None, None, "ffn"),
    "gate_up_bias": (None, "ffn"),
    "down": ("ffn", None),
    "down_bias": (None,),
    "sinks": ("kv_heads", None),
    "router": (None, None),
    "router_bias": (None,),
    "expert_gate_up": ("experts", None, None, "expert_ffn"),
    "expert_gate_up_bias": ("experts", None, "expert_ffn"),
    "expert_down": ("experts", "expert_ffn", None),
    "expert_down_bias": (None, None),
}


def _layer(c: ModelConfig, index: int, prefix: str) -> dict[Path, Parameter]:
    at = f"{prefix}layers.{index}."
    table: dict[Path, Parameter] = {("attention_norm", "scale"): plain(f"{at}input_layernorm.weight", c.embed_dim)}
    table |= {("attention", *path): found for path, found in _attention(c, f"{at}self_attn.").items()}
    table[("mlp_norm", "scale")] = plain(f"{at}{c.names.mlp_norm}.weight", c.embed_dim)
    experts = c.experts if c.kinds[index].sparse else None
    if experts:
        inner = _stacked_experts(c, experts, at) if c.names.stacked else _experts(c, experts, at)
    else:
        inner = _feed_forward(c, f"{at}mlp.")
    table |= {("mlp", *path): found for path, found in inner.items()}
    if c.post_norms:
        table[("attention_post_norm", "scale")] = plain(f"{at}post_attention_layernorm.weight", c.embed_dim)
        table[("mlp_post_norm", "scale")] = plain(f"{at}post_feedforward_layernorm.weight", c.embed_dim)
    return table


def _attention(c: ModelConfig, at: str) -> dict[Path, Parameter]:
    shapes = tuple((c.num_kv_heads, count, c.head_dim) for count in (c.group, 1, 1))
    names = tuple(f"{at}{name}_proj" for name in "qkv")
    weights = tuple(f"{name}.weight" for name in names)
    fused = rows(f"{at}qkv_proj.weight", c.embed_dim, shapes, 1) if c.names.fused else None
    table: dict[Path, Parameter] = {
        ("qkv",): fused or matrices(weights, c.embed_dim, shapes, 1),
        ("out",): matrix(f"{at}o_proj.weight", (c.num_kv_heads, c.group, c.head_dim), (c.embed_dim,)),
    }
    if c.qk_norm:
        table |= {(f"{name}_norm", "scale"): plain(f"{at}{name}_norm.weight", c.head_dim) for name in "qk"}
    if c.qkv_bias:
        table[("qkv_bias",)] = biases(tuple(f"{name}.bias" for name in names), shapes, 1)
    if c.out_bias:
        table[("out_bias",)] = plain(f"{at}o_proj.bias", c.embed_dim)
    if c.sinks:
        table[("sinks",)] = biases((f"{at}sinks",), ((c.num_kv_heads, c.group),), 0)
    return table


def _feed_forward(c: ModelConfig, at: str) -> dict[Path, Parameter]:
    shapes = ((1, c.mlp_dim),) * 2
    names = tuple(f"{at}{name}_proj" for name in ("gate", "up"))
    weights = tuple(f"{name}.weight" for name in names)
    fused = rows(f"{at}gate_up_proj.weight", c.embed_dim, shapes, 0) if c.names.fused else None
    table: dict[Path, Parameter] = {
        ("gate_up",): fused or matrices(weights, c.embed_dim, shapes, 0),
        ("down",): matrix(f"{at}down_proj.weight", (c.mlp_dim,), (c.embed_dim,)),
    }
    if c.mlp_bias:
        table[("gate_up_bias",)] = biases(tuple(f"{name}.bias" for name in names), shapes, 0)
        table[("down_bias",)] = plain(f"{at}down_proj.bias", c.embed_dim)
    return table


def _experts(c: ModelConfig, experts: Experts, at: str) -> dict[Path, Parameter]:
    gate_up, down = [], []
    for index in range(experts.count):
        gate, up, last = (f"{at}{c.names.experts}.{index}.{name}.weight" for name in c.names.expert)
        gate_up.append(matrices((gate, up), c.embed_dim, ((1, experts.mlp_dim),) * 2, 0))
        down.append(matrix(last, (experts.mlp_dim,), (c.embed_dim,)))
    return {
        ("router",): matrix(f"{at}{c.names.router}.weight", (c.embed_dim,), (experts.count,)),
        ("expert_gate_up",): stacked(gate_up),
        ("expert_down",): stacked(down),
    }


def _stacked_experts(c: ModelConfig, experts: Experts, at: str) -> dict[Path, Parameter]:
    count, width, router, inside = experts.count, experts.mlp_dim, f"{at}{c.names.router}", f"{at}{c.names.experts}."
    table: dict[Path, Parameter] = {
        ("router",): matrix(f"{router}.weight", (c.embed_dim,), (count,)),
        ("expert_gate_up",): entries(f"{inside}gate_up_proj", count, (c.embed_dim, 2, width), (c.embed_dim, 2 * width)),
        ("expert_down",): entries(f"{inside}down_proj", count, (width, c.embed_dim)),
    }
    if experts.bias:
        table[("router_bias",)] = plain(f"{router}.bias", count)
        table[("expert_gate_up_bias",)] = entries(f"{inside}gate_up_proj_bias", count, (2, width), (2 * width,))
        table[("expert_down_bias",)] = plain(f"{inside}down_proj_bias", count, c.embed_dim)
    return table
