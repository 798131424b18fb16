"""Which Hugging Face tensors make up each parameter, how they are laid out, and along which axes it may be split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jaxchat.models.config import ModelConfig

Path = tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """One stored tensor: its name and shape, its view inside the parameter, and the axis on which parts are joined."""

    name: str
    stored_shape: tuple[int, ...]
    shape: tuple[int, ...]
    transposed: bool = False
    axis: int = 0

    def from_stored(self, tensor: np.ndarray) -> np.ndarray:
        """The stored tensor, [out, in] as torch has it, as its slice of our [in, out] parameter."""
        return (tensor.T if self.transposed else tensor).reshape(self.shape)

    def to_stored(self, piece: np.ndarray) -> np.ndarray:
        """Inverse of `from_stored`."""
        if not self.transposed:
            return piece.reshape(self.stored_shape)
        return piece.reshape(self.stored_shape[::-1]).T


def parts(config: ModelConfig) -> dict[Path, tuple[Part, ...]]:
    """Every parameter path of the decoder with the tensors it is made from, in the order of the forward pass."""
    c = config
    table: dict[Path, tuple[Part, ...]] = {("embed",): (_plain("model.embed_tokens.weight", c.vocab_size, c.width),)}
    for index in range(c.layers):
        prefix = f"model.layers.{index}."
        table |= {(f"layer_{index}", *path): found for path, found in _layer(c, prefix).items()}
    table[("norm", "scale")] = (_plain("model.norm.weight", c.width),)
    if not c.tied:
        table[("head",)] = (_linear("lm_head.weight", c.width, (c.vocab_size,)),)
    return table


def axes(path: Path) -> tuple[str | None, ...]:
    """Logical axis names of a parameter; a mesh rule maps them to devices. None is never split."""
    return _AXES[path[-1]]


def to_hugging_face(
    path: Path, array: np.ndarray, sources: tuple[Part, ...], config: ModelConfig
) -> Iterator[tuple[str, np.ndarray]]:
    """Splits one parameter into its stored tensors."""
    widths = [part.shape[part.axis] for part in sources]
    pieces = np.split(array, np.cumsum(widths)[:-1], axis=sources[0].axis)
    for part, piece in zip(sources, pieces, strict=True):
        yield part.name, part.to_stored(piece)


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
}


def _layer(c: ModelConfig, prefix: str) -> dict[Path, tuple[Part, ...]]:
    attention, mlp = prefix + "self_attn.", prefix + "mlp."
    heads = {"q": c.group, "k": 1, "v": 1}
    qkv = {n: (c.kv_heads, count, c.head_width) for n, count in heads.items()}
    table: dict[Path, tuple[Part, ...]] = {
        ("attention_norm", "scale"): (_plain(prefix + "input_layernorm.weight", c.width),),
        ("attention", "qkv"): tuple(
            _linear(f"{attention}{n}_proj.weight", c.width, shape, axis=2) for n, shape in qkv.items()
        ),
        ("attention", "out"): (_linear(attention + "o_proj.weight", (c.kv_heads, c.group, c.head_width), c.width),),
        ("mlp_norm", "scale"): (_plain(prefix + "post_attention_layernorm.weight", c.width),),
        ("mlp", "gate_up"): tuple(
            _linear(f"{mlp}{n}_proj.weight", c.width, (1, c.ffn_width), axis=1) for n in ("gate", "up")
        ),
        ("mlp", "down"): (_linear(mlp + "down_proj.weight", c.ffn_width, c.width),),
    }
    if c.qkv_bias:
        table[("attention", "qkv_bias")] = tuple(
            _bias(f"{attention}{n}_proj.bias", shape, axis=1) for n, shape in qkv.items()
        )
    if c.out_bias:
        table[("attention", "out_bias")] = (_plain(attention + "o_proj.bias", c.width),)
    if c.mlp_bias:
        table[("mlp", "gate_up_bias")] = tuple(
            _bias(f"{mlp}{n}_proj.bias", (1, c.ffn_width), axis=0) for n in ("gate", "up")
        )
        table[("mlp", "down_bias")] = (_plain(mlp + "down_proj.bias", c.width),)
    return table


def _plain(name: str, *shape: int) -> Part:
    return Part(name, shape, shape)


def _bias(name: str, shape: tuple[int, ...], axis: int) -> Part:
    return Part(name, (int(np.prod(shape)),), shape, axis=axis)


def _linear(name: str, inputs: int | tuple[int, ...], outputs: int | tuple[int, ...], axis: int = 0) -> Part:
    inner = (inputs,) if isinstance(inputs, int) else inputs
    outer = (outputs,) if isinstance(outputs, int) else outputs
    stored = (int(np.prod(outer)), int(np.prod(inner)))
    return Part(name, stored, (*inner, *outer), transposed=True, axis=axis)
