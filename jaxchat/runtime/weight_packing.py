"""Packs weights for the matmul backends: into panels for the C++ kernels, into int8, or into groups of 4 bits.

Letters: D embedding dimension, V tokens in the vocabulary, E experts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxchat.kernels.matmul.grouped import GroupedWeight, pack_rows
from jaxchat.kernels.matmul.int8 import Int8, quantise, quantise_rows, quantise_stack
from jaxchat.kernels.matmul.native import PanelWeight, pack_stack, pack_table, pack_weight
from jaxchat.kernels.matmul.packed import PackedWeight
from jaxchat.kernels.matmul.rounding import round_rows
from jaxchat.models.param_specs import ParamSpec, Specs, insert, param_at


def pack(params: dict[str, Any], specs: Specs, packing: Packing) -> dict[str, Any]:
    """Replaces weights by their packed form, in place, and returns `params`.

    Packs one weight at a time, so that memory never holds two copies of all weights.

    Args:
        params: parameters on one device.
        specs: the specs of all parameters.
        packing: packs each weight of a matrix product.
    """
    for path, spec in specs.items():
        insert(params, path, packed_param(param_at(params, path), spec, packing))
    return params


def packed_param(w: Array, spec: ParamSpec, packing: Packing) -> Array | PackedWeight:
    """Returns one parameter in its packed form, or unchanged if matrix products do not contract its axes."""
    count = len(spec.contracted)
    if not count:
        return w
    if spec.per_expert:
        other = packing.experts(w, count)
    elif "vocab" in spec.axes:
        other = packing.table(w) if spec.axes[0] == "vocab" else packing.head(w)
    else:
        other = packing.matrix(w, count)
    return jax.block_until_ready(other)


@dataclass(frozen=True)
class PanelPacking:
    """The packing for the C++ kernels.

    `targets` are the custom calls by dtype, from `kernels.matmul.native.native_matmuls`.
    """

    targets: dict[str, str]

    def matrix(self, w: Array, inputs: int) -> PanelWeight:
        """Packs `w[in..., out...]`, whose first `inputs` axes are contracted."""
        return pack_weight(w, inputs, self.targets[w.dtype.name])

    def head(self, w: Array) -> PanelWeight:
        """Packs `w[D, V]`, whose first axis is contracted."""
        return self.matrix(w, 1)

    def table(self, w: Array) -> PanelWeight:
        """Packs `w[V, D]`, whose last axis is contracted."""
        return pack_table(w, self.targets[w.dtype.name])

    def experts(self, w: Array, inputs: int) -> PanelWeight:
        """Packs `w[E, in..., out...]`, a stack of E weights. The first `inputs` axes of each are contracted."""
        return pack_stack(w, inputs, self.targets[w.dtype.name])


@dataclass(frozen=True)
class Int8Packing:
    """The packing into int8.

    `targets` are the custom calls by dtype, from `native_matmuls`. If there are none, XLA multiplies.
    """

    targets: dict[str, str]

    @property
    def target(self) -> str:
        """The custom call that multiplies by int8; "" if XLA multiplies."""
        return self.targets.get("int8", "")

    def matrix(self, w: Array, inputs: int) -> Int8:
        """Rounds `w[in..., out...]`, f32 or bf16, to int8. Its first `inputs` axes are contracted.

        Each output has one scale.
        """
        return quantise(w, inputs, self.target)

    def head(self, w: Array) -> Int8:
        """Rounds `w[D, V]`, whose first axis is contracted, to int8. Each of the V outputs has one scale."""
        return self.matrix(w, 1)

    def table(self, w: Array) -> Int8:
        """Rounds `w[V, D]`, whose last axis is contracted, to int8. Each of the V outputs has one scale."""
        return quantise_rows(w, self.target)

    def experts(self, w: Array, inputs: int) -> Int8:
        """Rounds `w[E, in..., out...]`, a stack of E weights, to int8. Each output of each weight has one scale.

        The first `inputs` axes of each weight are contracted.
        """
        return quantise_stack(w, inputs, self.target)


@dataclass(frozen=True)
class Int4Packing:
    """The packing into groups of 32 inputs that share a scale.

    Codes have 8 bits in weights whose outputs are the vocabulary, otherwise 4. `target` is the custom call from
    `kernels.matmul.grouped.native_grouped`; if it is empty, XLA multiplies.
    """

    target: str

    def matrix(self, w: Array, inputs: int) -> GroupedWeight:
        """Rounds `w[in..., out...]`, whose first `inputs` axes are contracted, to 4 bits."""
        return self.experts(w[None], inputs)

    def head(self, w: Array) -> GroupedWeight:
        """Rounds `w[D, V]`, whose first axis is contracted, to 8 bits."""
        return self.table(w.T)

    def table(self, w: Array) -> GroupedWeight:
        """Rounds `w[V, D]`, whose last axis is contracted, to 8 bits."""
        rows = round_rows(np.asarray(w, np.float32), 8)
        return pack_rows([rows], w.shape[:1], w.dtype, self.target, w.shape[1])

    def experts(self, w: Array, inputs: int) -> GroupedWeight:
        """Rounds `w[E, in..., out...]`, a stack of E weights, to 4 bits.

        The first `inputs` axes of each weight are contracted.
        """
        count, outputs = prod(w.shape[1 : 1 + inputs]), w.shape[1 + inputs :]
        matrices = (np.asarray(matrix, np.float32).reshape(count, -1).T for matrix in w)
        return pack_rows([round_rows(matrix, 4) for matrix in matrices], outputs, w.dtype, self.target, count)


Packing = PanelPacking | Int8Packing | Int4Packing
