"""The optimizers of training."""

from __future__ import annotations

from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers, muon


def optimizer(name: str) -> optax.GradientTransformation:
    """Returns an optimizer with learning rate 1. It first clips the gradients to a global norm of 1.

    The caller multiplies the optimizer's updates by the learning rate of the step.

    Args:
        name: "adamw", or "muon" for Muon on the matrices of layers and AdamW on all other parameters.
    """
    if name == "adamw":
        update = optax.adamw(1.0, b2=0.98, weight_decay=0.05)
    else:
        update = muon(
            1.0,
            adam_b2=0.98,
            adam_weight_decay=0.01,
            weight_decay=0.05,
            muon_weight_dimension_numbers=_matrices,
            consistent_rms=0.2,
        )
    return optax.chain(optax.clip_by_global_norm(1.0), update)


_SPLITS = {"qkv": (0, (1, 2, 3)), "out": ((0, 1, 2), 3), "gate_up": (0, (1, 2)), "down": (0, 1)}


def _matrices(params: Any) -> Any:
    """Returns the input and output axes of each weight, or None for weights that AdamW updates."""
    names = jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key, params)
    return jax.tree.map(lambda name: MuonDimensionNumbers(*_SPLITS[name]) if name in _SPLITS else None, names)
