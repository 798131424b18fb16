"""Converts weights to other formats than the decoder's own: panels for the CPU's kernels, or 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
from jax import Array

from jaxchat.kernels.matmul.int8 import Int8, quantise, quantise_rows, quantise_stack
from jaxchat.kernels.matmul.native import PanelWeight, pack_stack, pack_table, pack_weight
from jaxchat.models.config import ModelConfig

INPUTS = {"qkv": 1, "out": 3, "gate_up": 1, "down": 1, "head": 1}
"""The weights that tokens are multiplied by, and the number of their contracted axes."""
EXPERTS = {"expert_gate_up": 1, "expert_down": 1}
"""The same for stacks of experts, without the first axis."""


def pack(params: dict[str, Any], config: ModelConfig, packing: Packing) -> dict[str, Any]:
    """Replaces weights by their packed form, in place and one at a time, so that memory never holds two copies of all.

    Args:
        params: the decoder's parameters, on one device.
        config: the model; its embedding may serve as head.
        packing: packs each weight that tokens are multiplied by.
    """
    for name, node in params.items():
        if isinstance(node, dict):
            pack(node, config, packing)
        elif name in INPUTS:
            params[name] = packing.matrix(node, INPUTS[name])
        elif name in EXPERTS:
            params[name] = packing.experts(node, EXPERTS[name])
        elif name == "embed" and config.tie_embeddings:
            params[name] = packing.table(node)
    return jax.block_until_ready(params)


@dataclass(frozen=True)
class Native:
    """Packing for the C++ kernels.

    `targets` is the custom call by dtype, see `kernels.matmul.native.native_matmuls`.
    """

    targets: dict[str, str]

    def matrix(self, w: Array, inputs: int) -> PanelWeight:
        """Packs `w[in..., out...]`."""
        return pack_weight(w, inputs, self.targets[w.dtype.name])

    def table(self, w: Array) -> PanelWeight:
        """Packs `w[V, D]`."""
        return pack_table(w, self.targets[w.dtype.name])

    def experts(self, w: Array, inputs: int) -> PanelWeight:
        """Packs `w[E, in..., out...]`."""
        return pack_stack(w, inputs, self.targets[w.dtype.name])


@dataclass(frozen=True)
class Rounded:
    """Packing to int8; `targets` as for `Native`, empty if XLA multiplies."""

    targets: dict[str, str]

    @property
    def target(self) -> str:
        """The custom call that multiplies by int8, empty for XLA."""
        return self.targets.get("int8", "")

    def matrix(self, w: Array, inputs: int) -> Int8:
        """Rounds `w[in..., out...]`."""
        return quantise(w, inputs, self.target)

    def table(self, w: Array) -> Int8:
        """Rounds `w[V, D]`."""
        return quantise_rows(w, self.target)

    def experts(self, w: Array, inputs: int) -> Int8:
        """Rounds `w[E, in..., out...]`."""
        return quantise_stack(w, inputs, self.target)


Packing = Native | Rounded
