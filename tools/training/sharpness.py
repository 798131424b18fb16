"""Scales the logits of the exported model."""

from __future__ import annotations

from typing import Any

EXPORTED = 2.0  # a power of two, exact in bf16


def sharpened(params: Any, times: float = EXPORTED) -> Any:
    """Returns parameters with which the decoder's logits are `times` as large as with `params`.

    If `times` is 2, the exported model at temperature 1 answers like the trained model at temperature 0.5. At 0.5, the
    trained model gives few worse answers than at 0.
    """
    return params | {"norm": {"scale": times * params["norm"]["scale"]}}
