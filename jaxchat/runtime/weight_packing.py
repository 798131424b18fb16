"""Packs weights for the matmul backends: into panels for the C++ kernels, or into int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
from jax import Array

from jaxchat.kernels.matmul.int8 import Int8, quantise, quantise_rows, quantise_stack
from jaxchat.kernels.matmul.native import PanelWeight, pack_stack, pack_table, pack_weight
from jaxchat.models.param_specs import ParamSpec, Specs, insert, param_at


def pack(params: dict[str, Any], specs: Specs, packing: Packing) -> dict[str, Any]:
    """Replaces weights by their packed form, in place, and returns `params`.

    Packs one weight at a time, so that memory never holds two copies of all.

    Args:
        params: parameters on one device.
        specs: the specs of all parameters.
        packing: packs each weight that tokens are multiplied by.
    """
    for path, spec in specs.items():
        insert(params, path, packed_param(param_at(params, path), spec, packing))
    return params


def packed_param(w: Array, spec: ParamSpec, packing: Packing) -> Array | PanelWeight | Int8:
    """Returns one parameter in its packed form, or unchanged if matrix products do not contract its axes."""
    count = len(spec.contracted)
    if not count:
        return w
    if spec.per_expert:
        other = packing.experts(w, count)
    else:
        other = packing.matrix(w, count) if spec.contracted[0] == 0 else packing.table(w)
    return jax.block_until_ready(other)


@dataclass(frozen=True)
class PanelPacking:
    """The packing for the C++ kernels.

    `targets` has the custom calls by dtype, from `kernels.matmul.native.native_matmuls`.
    """

    targets: dict[str, str]

    def matrix(self, w: Array, inputs: int) -> PanelWeight:
        """Packs `w[in..., out...]`, whose first `inputs` axes are contracted."""
        return pack_weight(w, inputs, self.targets[w.dtype.name])

    def table(self, w: Array) -> PanelWeight:
        """Packs `w[V, D]`, whose last axis is contracted."""
        return pack_table(w, self.targets[w.dtype.name])

    def experts(self, w: Array, inputs: int) -> PanelWeight:
        """Packs `w[E, in..., out...]`, a stack of E weights. The first `inputs` axes of each are contracted."""
        return pack_stack(w, inputs, self.targets[w.dtype.name])


@dataclass(frozen=True)
class Int8Packing:
    """The packing into int8. `targets` has the custom calls by dtype. It is empty if XLA multiplies."""

    targets: dict[str, str]

    @property
    def target(self) -> str:
        """The custom call that multiplies by int8, empty for XLA."""
        return self.targets.get("int8", "")

    def matrix(self, w: Array, inputs: int) -> Int8:
        """Rounds `w[in..., out...]`, whose first `inputs` axes are contracted, to int8.

        Each output has one scale.
        """
        return quantise(w, inputs, self.target)

    def table(self, w: Array) -> Int8:
        """Rounds `w[V, D]`, whose last axis is contracted, to int8. Each of the V outputs has one scale."""
        return quantise_rows(w, self.target)

    def experts(self, w: Array, inputs: int) -> Int8:
        """Rounds `w[E, in..., out...]`, a stack of E weights, to int8. Each output of each weight has one scale.

        The first `inputs` axes of each weight are contracted.
        """
        return quantise_stack(w, inputs, self.target)


Packing = PanelPacking | Int8Packing
