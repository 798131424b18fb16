"""Weights in other forms than the decoder's own: as the CPU's kernels read them, or rounded to 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
from jax import Array

from jaxchat.kernels.matmul.int8 import Int8, quantise, quantise_each, quantise_rows
from jaxchat.kernels.matmul.native import PanelWeight, packed, packed_each, packed_table
from jaxchat.models.param_specs import ParamSpec, Specs, insert, param_at


def pack(params: dict[str, Any], specs: Specs, packing: Packing) -> dict[str, Any]:
    """Replaces weights by their other form, in place and one at a time, so that no two copies of all exist.

    Args:
        params: on one device.
        specs: of all of them.
        packing: of each weight that tokens are multiplied by.
    """
    for path, spec in specs.items():
        insert(params, path, packed_param(param_at(params, path), spec, packing))
    return params


def packed_param(w: Array, spec: ParamSpec, packing: Packing) -> Array | PanelWeight | Int8:
    """Returns one parameter in its other form, or as it is where products do not sum over its axes."""
    count = len(spec.contracted)
    if not count:
        return w
    if spec.per_expert:
        other = packing.experts(w, count)
    else:
        other = packing.matrix(w, count) if spec.contracted[0] == 0 else packing.table(w)
    return jax.block_until_ready(other)


@dataclass(frozen=True)
class Native:
    """For products in C++: `targets` has the custom call for each dtype, see `kernels.products.native_products`."""

    targets: dict[str, str]

    def matrix(self, w: Array, inputs: int) -> PanelWeight:
        """Of `w[in..., out...]`."""
        return packed(w, inputs, self.targets[w.dtype.name])

    def table(self, w: Array) -> PanelWeight:
        """Of `w[V, D]`."""
        return packed_table(w, self.targets[w.dtype.name])

    def experts(self, w: Array, inputs: int) -> PanelWeight:
        """Of `w[E, in..., out...]`."""
        return packed_each(w, inputs, self.targets[w.dtype.name])


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
        return quantise_each(w, inputs, self.target)


Packing = Native | Rounded
