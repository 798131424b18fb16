"""Weights in other forms than the decoder's own: as the CPU's kernels read them, or rounded to 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
from jax import Array

from jaxchat.kernels.matmul.int8 import Int8, quantise, quantise_rows, quantise_stack
from jaxchat.kernels.matmul.native import PanelWeight, pack_stack, pack_table, pack_weight
from jaxchat.models.config import ModelConfig

INPUTS = {"qkv": 1, "out": 3, "gate_up": 1, "down": 1, "head": 1}
"""The weights that tokens are multiplied by, and how many of their axes are summed over."""
EXPERTS = {"expert_gate_up": 1, "expert_down": 1}
"""Likewise, of each of the experts on the first axis."""


def pack(params: dict[str, Any], config: ModelConfig, packing: Packing) -> dict[str, Any]:
    """Replaces weights by their other form, in place and one at a time, so that no two copies of all exist.

    Args:
        params: the decoder's parameters, on one device.
        config: tells whether the embedding serves as head.
        packing: of each weight that tokens are multiplied by.
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
    """For products in C++: `targets` has the custom call for each dtype, see `kernels.products.native_matmuls`."""

    targets: dict[str, str]

    def matrix(self, w: Array, inputs: int) -> PanelWeight:
        """Of `w[in..., out...]`."""
        return pack_weight(w, inputs, self.targets[w.dtype.name])

    def table(self, w: Array) -> PanelWeight:
        """Of `w[V, D]`."""
        return pack_table(w, self.targets[w.dtype.name])

    def experts(self, w: Array, inputs: int) -> PanelWeight:
        """Of `w[E, in..., out...]`."""
        return pack_stack(w, inputs, self.targets[w.dtype.name])


@dataclass(frozen=True)
class Rounded:
    """To int8; `targets` as for `Native`, empty where XLA multiplies."""

    targets: dict[str, str]

    @property
    def target(self) -> str:
        """The custom call that multiplies by int8, empty for XLA."""
        return self.targets.get("int8", "")

    def matrix(self, w: Array, inputs: int) -> Int8:
        """Of `w[in..., out...]`."""
        return quantise(w, inputs, self.target)

    def table(self, w: Array) -> Int8:
        """Of `w[V, D]`."""
        return quantise_rows(w, self.target)

    def experts(self, w: Array, inputs: int) -> Int8:
        """Of `w[E, in..., out...]`."""
        return quantise_stack(w, inputs, self.target)


Packing = Native | Rounded
