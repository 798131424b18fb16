"""FP8: weights of 8-bit floats (E4M3) with scales, as DeepSeek, Qwen and Mistral publish them.

The floats of a tensor `name` are multiplied by its scales, `name_scale_inv` or `name_scale`. There is one scale for the
tensor, for each output, or for each block. A block has the shape `weight_block_size`, by default 128 x 128. Scales of
activations are not read, because activations are not rounded to 8-bit floats.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from jaxchat.checkpoints.forms.parts import Parts, quantization_keys
from jaxchat.checkpoints.forms.scaled_floats import Block, ScaledFloats, block_shape

METHOD = "fp8"
_ENDS = ("_scale_inv", "_scale")
_OF_ACTIVATIONS = (".input_scale", ".activation_scale")
_BLOCK = 128


class Fp8Form:
    """The stored form FP8."""

    def check(self, quantization: Mapping[str, Any]) -> None:
        """Raises ModelError if a setting is not supported."""
        keys = quantization_keys(quantization)
        if keys.word("fmt", "e4m3").lower() not in ("e4m3", "float8_e4m3fn"):
            raise keys.error("fmt", 'must be "e4m3"')
        if keys.word("activation_scheme", "dynamic") not in ("dynamic", "static"):
            raise keys.error("activation_scheme", 'must be "dynamic" or "static"')
        _block(quantization)

    def find(self, names: Collection[str], quantization: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """Returns the names of the stored parts of each FP8 tensor, by the tensor's name. FP8 tensors have scales."""
        if quantization.get("quant_method") != METHOD:
            return {}
        found = {}
        for scale in names:
            end = next((end for end in _ENDS if scale.endswith(end)), "")
            name = scale.removesuffix(end)
            if end and name in names:
                stem = name.removesuffix(".weight")
                found[name] = (name, scale, *(f"{stem}{end}" for end in _OF_ACTIVATIONS if f"{stem}{end}" in names))
        return found

    def open(self, name: str, parts: Mapping[str, Any], quantization: Mapping[str, Any]) -> ScaledFloats:
        """Returns a tensor.

        Raises:
            ModelError: `weight_block_size` is malformed, or the shapes or dtypes of the parts do not match.
        """
        end = next(end for end in _ENDS if f"{name}{end}" in parts)
        base, dot, last = name.rpartition(".")
        return ScaledFloats(Parts(f"{base}{dot}", parts), last, f"{last}{end}", _block(quantization))


def _block(quantization: Mapping[str, Any]) -> Block | None:
    """Returns the shape `weight_block_size` of a block: 128 x 128 if the key is absent, None if its value is null."""
    if quantization.get("weight_block_size", ()) is None:
        return None
    return block_shape(quantization_keys(quantization), "weight_block_size", [_BLOCK, _BLOCK])


FP8 = Fp8Form()
