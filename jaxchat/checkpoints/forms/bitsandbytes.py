"""bitsandbytes: 4-bit codes that index a table of numbers (NF4 and FP4), and int8 with a scale for each output.

In 4 bits, a weight of shape (n, k) is stored flat: `weight` is u8 `[n * k / 2, 1]`, with the first code of a byte in
its higher bits. `weight.quant_map` is the table, and `weight.absmax` has one scale for each block of codes. Scales may
be quantised too. Each scale is then an entry of a second table, times the scale of its block of scales, plus an offset.
`weight.quant_state.bitsandbytes__nf4` holds the remaining numbers as JSON.

In 8 bits, `weight` i8 `[n, k]` is multiplied by `SCB / 127`, f32 `[n]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from jaxchat.arithmetic import cdiv
from jaxchat.checkpoints.forms.parts import Parts, QuantisedMatrix, factors, imagined_matrix, quantization_keys
from jaxchat.checkpoints.stored_form import StoredTensor
from jaxchat.errors import ModelError
from jaxchat.models.hf_config import HFConfigReader
from jaxchat.quantised import QuantisedRows

METHOD = "bitsandbytes"
_STATE = re.compile(r"(.+weight)\.(quant_state\.bitsandbytes__(?:nf4|fp4))")
_NESTED = ("nested_absmax", "nested_quant_map")
_LARGEST, _MIDDLE = 127, 128


class TableMatrix:
    """A weight `[n, k]` of 4-bit codes that index a table.

    It can be read like the result of safetensors' `get_slice`.
    """

    def __init__(self, parts: Parts, state: str) -> None:
        """Wraps the stored parts.

        Args:
            parts: the parts of the weight.
            state: name of the part with the quantisation state, without the prefix "weight.". It is
                "quant_state.bitsandbytes__nf4" or "quant_state.bitsandbytes__fp4".

        Raises:
            ModelError: a part is missing, the state is damaged, or the shapes or dtypes of the parts do not fit the
                state.
        """
        self._state = _json(parts.take(f"weight.{state}", "U8"), state)
        self.shape = self._shape()
        size, self._block = self.shape[0] * self.shape[1], self._state.integer("blocksize")
        self._codes = parts.take("weight", "U8", shape=(cdiv(size, 2), 1))
        self._table = parts.take("weight.quant_map", "F32", shape=(16,))
        count = cdiv(size, self._block)
        self._nested = "weight.nested_absmax" in parts
        self._scales = parts.take("weight.absmax", "U8" if self._nested else "F32", shape=(count,))
        if self._nested:
            self._block_of_scales = self._state.integer("nested_blocksize")
            self._outer = parts.take("weight.nested_absmax", "F32", shape=(cdiv(count, self._block_of_scales),))
            self._outer_table = parts.take("weight.nested_quant_map", "F32", shape=(256,))

    def get_shape(self) -> list[int]:
        """Returns the shape of the weight."""
        return list(self.shape)

    def get_dtype(self) -> str:
        """Returns "F32", because products with the scales are computed in f32."""
        return "F32"

    def __getitem__(self, index: slice) -> np.ndarray:
        """Returns the rows in the slice `index` as numbers, f32 `[rows, k]`.

        Raises:
            ModelError: a scale is not a finite number.
        """
        rows, inputs = self.shape
        start, stop, _ = index.indices(rows)
        first, last = start * inputs, stop * inputs
        octets = self._codes[first // 2 : cdiv(last, 2)]
        codes = np.concatenate([octets >> 4, octets & 15], axis=1).ravel()[first % 2 :][: last - first]
        scales = np.repeat(self._scale_values()[first // self._block : cdiv(last, self._block)], self._block)
        if not np.isfinite(scales).all():
            raise ModelError("a scale is not a finite number")
        numbers: np.ndarray = self._table[:][codes] * scales[first % self._block :][: last - first]
        return numbers.reshape(-1, inputs)

    def _scale_values(self) -> np.ndarray:
        scales: np.ndarray = self._scales[:]
        if not self._nested:
            return scales
        outer = np.repeat(self._outer[:], self._block_of_scales)[: len(scales)]
        offset = np.float32(self._state.number("nested_offset"))
        inner: np.ndarray = self._outer_table[:][scales] * outer + offset
        return inner

    def _shape(self) -> tuple[int, int]:
        shape = self._state.values.get("shape")
        if not (isinstance(shape, list) and len(shape) == 2 and all(type(size) is int and size > 0 for size in shape)):
            raise self._state.error("shape", "must be a list of two whole numbers above 0")
        rows, columns = shape
        return rows, columns


class Int8Matrix(QuantisedMatrix):
    """A weight of int8 with a scale for each output."""

    def __init__(self, parts: Parts) -> None:
        """Wraps the stored parts. Raises ModelError if their shapes or dtypes do not match."""
        shape = parts.matrix("weight", "I8")
        super().__init__(shape, shape[1])
        self._numbers, self._scales = parts.take("weight", "I8"), parts.take("SCB", "F32", shape=shape[:1])
        if "weight_format" in parts and np.asarray(parts.take("weight_format", "U8")[...]).any():
            raise ModelError("weight_format must be 0, rows of numbers; the layouts for certain GPUs are not read")

    def rows(self, start: int, stop: int) -> QuantisedRows:
        """Reads the rows from `start` to `stop - 1`."""
        codes = self._numbers[start:stop].view(np.uint8) ^ np.uint8(_MIDDLE)
        scales = self._scales[start:stop] / np.float32(_LARGEST)
        return QuantisedRows(codes, 8, self.group, factors(scales[:, None]), _MIDDLE)


class BitsAndBytesForm:
    """The stored forms of bitsandbytes."""

    def check(self, quantization: Mapping[str, Any]) -> None:
        """Raises ModelError if a setting is not supported."""
        keys = quantization_keys(quantization)
        if keys.word("bnb_4bit_quant_storage", "uint8") != "uint8":
            raise keys.error("bnb_4bit_quant_storage", 'must be "uint8"')

    def find(self, names: Collection[str], quantization: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """Returns the names of the stored parts of each weight, by the weight's name.

        A weight of 4 bits has a quantisation state. A weight of 8 bits has `SCB`.
        """
        if quantization.get("quant_method") != METHOD:
            return {}
        found = {}
        for name in names:
            if match := _STATE.fullmatch(name):
                weight = match[1]
                nested = [f"{weight}.{end}" for end in _NESTED if any(f"{weight}.{end}" in names for end in _NESTED)]
                found[weight] = (weight, name, f"{weight}.absmax", f"{weight}.quant_map", *nested)
            elif name.endswith(".SCB"):
                stem = name.removesuffix("SCB")
                layout = [f"{stem}weight_format"] if f"{stem}weight_format" in names else []
                found[f"{stem}weight"] = (f"{stem}weight", name, *layout)
        return found

    def open(self, name: str, parts: Mapping[str, Any], quantization: Mapping[str, Any]) -> StoredTensor:
        """Returns a weight.

        Raises:
            ModelError: a part is missing or damaged, `weight_format` is not 0, or the shapes or dtypes of the parts do
                not match.
        """
        state = next((match[2] for part in parts if (match := _STATE.fullmatch(part))), "")
        stored = Parts(name.removesuffix("weight"), parts)
        return TableMatrix(stored, state) if state else Int8Matrix(stored)

    def imagined(
        self, name: str, shape: tuple[int, ...], quantization: Mapping[str, Any], scale: str
    ) -> QuantisedRows | None:
        """Returns rows of zeros in the stored form of a weight of 8 bits, for planning.

        Returns None for weights of 4 bits, which are widened, and for the embedding and modules that are not converted.
        Also returns None if `imagined_matrix` returns None.

        Raises:
            ModelError: a setting has the wrong type.
        """
        keys = quantization_keys(quantization)
        skipped = keys.words("llm_int8_skip_modules") or ("lm_head",)
        if not keys.flag("load_in_8bit") or any(module in name for module in ("embed_tokens", *skipped)):
            return None
        return imagined_matrix(name, shape, 8, -1, "float32")


def _json(stored: Any, name: str) -> HFConfigReader:
    """Reads the JSON object in a tensor of bytes. Raises ModelError if there is none."""
    try:
        value = json.loads(stored[:].tobytes())
    except ValueError as error:
        raise ModelError(f"{name} is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise ModelError(f"{name} must be an object")
    return HFConfigReader(value, f"{name}.")


BITSANDBYTES = BitsAndBytesForm()
