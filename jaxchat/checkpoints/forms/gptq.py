"""GPTQ: codes of 4 or 8 bits in groups of inputs, as AutoGPTQ and GPTQModel store them.

A weight `[n, k]` is stored transposed, eight or four codes in a word, lowest bits first. For G groups and codes of 4
bits, `qweight` is i32 `[k / 8, n]`, `qzeros` i32 `[G, n / 8]`, and `scales` `[G, n]`. `g_idx`, i32 `[k]`, has the group
of each input. With activation order (`desc_act`), the inputs of a group are not neighbours.

The format "gptq" stores each zero point minus one. From each word of zero points, it subtracts a word of ones, with
borrows between the codes of the word. The format "gptq_v2" stores zero points as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxchat.arithmetic import cdiv
from jaxchat.checkpoints.forms.parts import (
    SCALES,
    Parts,
    QuantisedMatrix,
    factors,
    group_size,
    imagined_matrix,
    input_order,
    packed_parts,
    quantization_keys,
    unpacked,
    zero_points,
)
from jaxchat.errors import ModelError
from jaxchat.quantised import QuantisedRows

METHOD = "gptq"
_ONES = {4: 0x11111111, 8: 0x01010101}  # one in each code of a word
_WORD = 32  # bits


@dataclass(frozen=True)
class Settings:
    """The settings in `quantization_config` that say how weights are stored."""

    bits: int
    group_size: int
    ordered: bool  # whether groups follow the activations' order, so that `g_idx` is needed
    version: int  # of the format, 1 or 2; with 1, zero points are stored minus one
    varied: bool  # whether some weights have other sizes of codes and groups

    @classmethod
    def read(cls, quantization: Mapping[str, Any]) -> Settings:
        """Reads the settings. Raises ModelError if a setting is missing or not supported."""
        keys = quantization_keys(quantization)
        bits, size = keys.integer("bits"), keys.integer("group_size", 128, least=-1)
        if bits not in _ONES:
            raise keys.error("bits", "must be 4 or 8")
        if not size:
            raise keys.error("group_size", "must be -1 or at least 1")
        form = keys.word("checkpoint_format", keys.word("format", METHOD))
        if keys.flag("is_marlin_format") or form not in (METHOD, "gptq_v2"):
            raise keys.error(
                "checkpoint_format", 'must be "gptq" or "gptq_v2", the forms of other kernels are not read'
            )
        if keys.word("pack_dtype", "int32") != "int32":
            raise keys.error("pack_dtype", 'must be "int32"')
        return cls(bits, size, keys.flag("desc_act"), 2 if form == "gptq_v2" else 1, bool(keys.inner("dynamic").values))


class GptqMatrix(QuantisedMatrix):
    """A weight that is stored as GPTQ."""

    def __init__(self, parts: Parts, settings: Settings) -> None:
        """Wraps the stored parts. Raises ModelError if their shapes and dtypes do not fit the settings."""
        words, outputs = parts.matrix("qweight", "I32")
        groups, _ = parts.matrix("scales", *SCALES)
        self._bits, size = settings.bits, settings.group_size
        if settings.varied:
            self._bits = _WORD * parts.matrix("qzeros", "I32")[1] // outputs
            size = words * _WORD // max(self._bits, 1) // groups
            if self._bits not in _ONES:
                raise ModelError(f"qzeros have {self._bits} bits for each output, supported: 4 and 8")
        inputs = words * _WORD // self._bits
        super().__init__((outputs, inputs), group_size(inputs, size))
        groups = inputs // self.group
        self._qweight = parts.take("qweight", "I32")
        self._scales = parts.take("scales", *SCALES, shape=(groups, outputs))
        self._qzeros = parts.take("qzeros", "I32", shape=(groups, cdiv(outputs * self._bits, _WORD)))
        self._g_idx = parts.take("g_idx", "I32", shape=(inputs,)) if "g_idx" in parts else None
        self._ones = np.uint32(_ONES[self._bits] if settings.version == 1 else 0)

    def rows(self, start: int, stop: int) -> QuantisedRows:
        """Reads the rows from `start` to `stop - 1`. Raises ModelError if `g_idx` is damaged."""
        outputs, inputs = self.shape
        codes = unpacked(self._qweight[:, start:stop].T, self._bits)
        order = None if self._g_idx is None else input_order(self._g_idx[:], inputs // self.group, "g_idx")
        zeros = unpacked((self._qzeros[:].view(np.uint32) + self._ones).view(np.int32), self._bits)[:, :outputs]
        return QuantisedRows(
            codes if order is None else codes[:, order],
            self._bits,
            self.group,
            factors(self._scales[:, start:stop].T),
            zero_points(zeros.T, start, stop),
            order=order,
        )


class GptqForm:
    """The stored form GPTQ."""

    def check(self, quantization: Mapping[str, Any]) -> None:
        """Raises ModelError if a setting is missing or not supported."""
        Settings.read(quantization)

    def find(self, names: Collection[str], quantization: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """Returns the names of the stored parts of each GPTQ weight, by the weight's name.

        A GPTQ weight has a `qweight`.
        """
        if quantization.get("quant_method") != METHOD:
            return {}
        ordered = Settings.read(quantization).ordered
        return packed_parts(names, ("qzeros", "scales"), "g_idx", always=ordered)

    def open(self, name: str, parts: Mapping[str, Any], quantization: Mapping[str, Any]) -> GptqMatrix:
        """Returns a weight.

        Raises:
            ModelError: a setting is missing or not supported, or the shapes or dtypes of the parts do not fit the
                settings.
        """
        return GptqMatrix(Parts(name.removesuffix("weight"), parts), Settings.read(quantization))

    def imagined(
        self, name: str, shape: tuple[int, ...], quantization: Mapping[str, Any], scale: str
    ) -> QuantisedRows | None:
        """Returns rows of zeros in the stored form of a weight, for planning.

        Returns None for the embedding, for a head that is not quantised, or if `imagined_matrix` returns None. Ignores
        `dynamic`, the settings for some of the weights.

        Raises:
            ModelError: a setting is missing or not supported, or does not fit the shape.
        """
        settings, keys = Settings.read(quantization), quantization_keys(quantization)
        if (name == "lm_head.weight" and not keys.flag("lm_head")) or "embed_tokens" in name:
            return None
        return imagined_matrix(
            name,
            shape,
            settings.bits,
            settings.group_size,
            scale,
            zeros=not keys.flag("sym", True),
            ordered=settings.ordered,
        )


GPTQ = GptqForm()
