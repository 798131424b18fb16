"""Weights in the form that the CPU's own products read."""

from __future__ import annotations

from typing import Any

import jax

from jaxchat.kernels.products import OutputMajor, output_major
from jaxchat.models.config import ModelConfig

INPUTS = {"qkv": 1, "out": 3, "gate_up": 1, "down": 1, "head": 1}
"""The weights that tokens are multiplied by, and how many of their axes are summed over."""


def pack(params: dict[str, Any], config: ModelConfig, targets: dict[str, str]) -> dict[str, Any]:
    """Replaces weights by `OutputMajor`, in place and one at a time, so that no two copies of all exist.

    Args:
        params: the decoder's parameters, on one CPU device.
        config: tells whether the embedding serves as head.
        targets: the custom call for each dtype of weights, see `kernels.products.native_products`.
    """
    for name, node in params.items():
        if isinstance(node, dict):
            pack(node, config, targets)
        elif name in INPUTS:
            params[name] = output_major(node, INPUTS[name], targets[node.dtype.name])
        elif name == "embed" and config.tied:
            params[name] = OutputMajor(node, node.shape[:1], targets[node.dtype.name])
    return jax.block_until_ready(params)
