"""Maps each Hugging Face tensor to the tensors of a GGUF file that contain its numbers.

The conversion to GGUF renames tensors, and stacks the tensors of experts. It adds 1 to the norms of Gemma, and reorders
the rows of queries and keys of Llama. An `Origin` says how to undo these changes.

Letters: E experts, D embedding dimension, F hidden dimension of an expert.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from jaxchat.checkpoints.gguf.header import StoredTensor

Compose = Callable[..., np.ndarray]
"""`compose(*tensors)` makes entries of a tensor from the same entries of several tensors."""
_IGNORED = ("rope_freqs.", "rope_factors_long.", "rope_factors_short.", "v.", "mm.")
"""Beginnings of names of tensors that are part of the configuration, or of the part of a model that sees images."""
_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_SHARED_GATE = "ffn_gate_inp_shexp"  # a matrix of one row, which earlier conversions wrote as a vector
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.experts.{}.gate_proj",
    "ffn_up_exps": "mlp.experts.{}.up_proj",
    "ffn_down_exps": "mlp.experts.{}.down_proj",
    _SHARED_GATE: "mlp.shared_expert_gate",
    "ffn_gate_shexp": "mlp.shared_expert.gate_proj",
    "ffn_up_shexp": "mlp.shared_expert.up_proj",
    "ffn_down_shexp": "mlp.shared_expert.down_proj",
}


@dataclass(frozen=True)
class Origin:
    """The stored tensors that contain one Hugging Face tensor, and how the conversion has changed them."""

    tensors: tuple[str, ...]  # one, unless `compose` is set
    shape: tuple[int, ...]  # of the tensor with the Hugging Face name
    entry: int | None = None  # the entry of the first axis, of a stored tensor that stacks the matrices of experts
    heads: int = 0  # the number of heads whose rows are reordered; 0: none are
    added: float = 0.0  # the number that the conversion has added
    compose: Compose | None = None


@dataclass(frozen=True)
class Renaming:
    """The differences between the tensors of an architecture and those of Llama in Hugging Face form."""

    layer: Mapping[str, str]  # names in a layer that differ, without `.weight`; "" for those that `mixed` covers
    reordered: bool = False  # rows of queries and keys are
    added_to_norms: float = 0.0
    mixed: bool = False  # experts in the form of gpt-oss

    def origins(self, tensors: Mapping[str, StoredTensor], heads: int, kv_heads: int) -> dict[str, Origin]:
        """Returns the origin of each tensor by its Hugging Face name; unknown tensors keep their names.

        Args:
            tensors: the stored tensors.
            heads: number of query heads.
            kv_heads: number of key heads.
        """
        counts = {"attn_q": heads, "attn_k": kv_heads} if self.reordered else {}
        found: dict[str, Origin] = {}
        for name, stored in tensors.items():
            if name.startswith(_IGNORED):
                continue
            base, _, suffix = name.rpartition(".")
            prefix, base = _layer_of(base)
            target = self._target(prefix, base)
            if target is None:
                found[name] = Origin((name,), stored.shape)
                continue
            if not target:
                continue
            added = self.added_to_norms if base.endswith("norm") else 0.0
            for entry, full in _expanded(f"{prefix}{target}", suffix, stored):
                shape = stored.shape if entry is None else stored.shape[1:]
                if base == _SHARED_GATE and len(shape) == 1:
                    shape = (1, *shape)
                found[full] = Origin((name,), shape, entry, counts.get(base, 0), added)
        return found | dict(_mixed_experts(tensors)) if self.mixed else found

    def _target(self, prefix: str, base: str) -> str | None:
        if not prefix:
            return _OUTER.get(base)
        return self.layer[base] if base in self.layer else _LAYER.get(base)


def row_order(rows: int, heads: int) -> np.ndarray:
    """Returns the index in the file of each row of a query or key matrix, i64 `[rows]`.

    RoPE rotates element i of the first half of a head together with element i of the second half. The conversion makes
    such pairs neighbours, so that the rows of the two halves alternate.

    Args:
        rows: number of rows, a multiple of twice `heads`.
        heads: number of heads.
    """
    return np.arange(rows).reshape(heads, -1, 2).swapaxes(1, 2).ravel()


def _layer_of(base: str) -> tuple[str, str]:
    """Splits `blk.3.attn_q` into `model.layers.3.` and `attn_q`; the first is empty for tensors outside of layers."""
    parts = base.split(".", 2)
    if len(parts) == 3 and parts[0] == "blk" and parts[1].isdecimal():
        return f"model.layers.{parts[1]}.", parts[2]
    return "", base


def _expanded(target: str, suffix: str, stored: StoredTensor) -> Iterator[tuple[int | None, str]]:
    """Yields the number and the full name of each expert in a stacked tensor.

    For any other tensor, yields None and the tensor's full name.
    """
    if "{}" not in target:
        yield None, target if target.endswith("sinks") else f"{target}.{suffix}"
        return
    for entry in range(stored.shape[0]):
        yield entry, f"{target.format(entry)}.{suffix}"


def _mixed_experts(tensors: Mapping[str, StoredTensor]) -> Iterator[tuple[str, Origin]]:
    """Yields the experts of gpt-oss: in each, the outputs of gate and up alternate on the last axis."""
    for name in tensors:
        prefix, base = _layer_of(name.rpartition(".")[0])
        at, suffix = f"{prefix}mlp.experts.", name.rpartition(".")[2]
        up = name.replace("ffn_gate_exps", "ffn_up_exps")
        shape = tensors[name].shape
        if base == "ffn_gate_exps" and up in tensors and tensors[up].shape == shape:
            if suffix == "bias":
                yield f"{at}gate_up_proj_bias", Origin((name, up), (shape[0], 2 * shape[1]), compose=_alternating)
            else:
                mixed = (shape[0], shape[2], 2 * shape[1])
                yield f"{at}gate_up_proj", Origin((name, up), mixed, compose=_alternating_outputs)
        elif base == "ffn_down_exps" and suffix == "weight":
            swapped = (shape[0], shape[2], shape[1])
            yield f"{at}down_proj", Origin((name,), swapped, compose=lambda down: down.swapaxes(1, 2))
        elif base == "ffn_down_exps":
            yield f"{at}down_proj_bias", Origin((name,), shape)


def _alternating(gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Interleaves two tensors `[E, F]` on the last axis, to `[E, 2 F]`."""
    return np.stack([gate, up], axis=-1).reshape(len(gate), -1)


def _alternating_outputs(gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Interleaves the outputs F of two tensors `[E, F, D]`, to `[E, D, 2 F]`."""
    count, outputs, inputs = gate.shape
    return np.stack([gate, up], axis=2).reshape(count, 2 * outputs, inputs).swapaxes(1, 2)
