"""The registry of stored forms: ways in which checkpoints encode tensors, such as blocks of numbers with scales."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol, runtime_checkable

from jaxchat.quantised import QuantisedRows
from jaxchat.registry import Registry


class StoredTensor(Protocol):
    """A tensor that can be read in parts. Its methods are those of the result of safetensors' `get_slice`."""

    def get_shape(self) -> list[int]:
        """Returns the shape of the represented tensor, not of its stored parts."""

    def get_dtype(self) -> str:
        """Returns the narrowest floating-point dtype that holds the tensor's numbers: "F64", "F32", "F16" or "BF16"."""

    def __getitem__(self, index: Any) -> Any:
        """Returns the entries in the slice `index` of the first axis, as a NumPy array of floating-point numbers."""


@runtime_checkable
class QuantisedTensor(StoredTensor, Protocol):
    """A stored tensor that kernels can multiply by in its stored form, without widening it."""

    def quantised(self, index: slice) -> QuantisedRows | None:
        """Returns the rows in the slice `index` in quantised form, or None if they must be widened.

        `dequantised()` of the result equals `[index]` of this tensor. For a stack of matrices `[entries, in, out]`, the
        slice must have one entry. The result is then the transposed matrix, with a row for each output.
        """


class StoredForm(Protocol):
    """One way of storing a tensor as several tensors of a safetensors checkpoint, such as numbers and scales.

    A form is registered under a name, the `quant_method` in the `quantization_config` of `config.json`.
    """

    def find(self, names: Collection[str], quantization: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
        """Returns the tensors that are stored in this form.

        Args:
            names: names of all stored tensors.
            quantization: `quantization_config` of the `config.json`; empty if it is missing.

        Returns:
            A mapping from the name of each represented tensor to the names of its stored tensors.
        """

    def open(self, name: str, parts: Mapping[str, Any], quantization: Mapping[str, Any]) -> StoredTensor:
        """Returns the tensor that `parts` represent.

        Args:
            name: name of the represented tensor.
            parts: a slice of each stored tensor by its name, with `get_shape`, `get_dtype` and `[index]`.
            quantization: `quantization_config` of the `config.json`; empty if it is missing.

        Raises:
            ModelError: the shapes or dtypes of the parts do not match.
        """


@runtime_checkable
class CheckedForm(StoredForm, Protocol):
    """A stored form that says from `config.json` alone whether it can read a checkpoint."""

    def check(self, quantization: Mapping[str, Any]) -> None:
        """Raises ModelError, which names the key, if a setting in `quantization_config` is not supported."""


@runtime_checkable
class PlannedForm(StoredForm, Protocol):
    """A stored form that says from `config.json` alone how a tensor is stored, so that memory can be planned."""

    def imagined(
        self, name: str, shape: tuple[int, ...], quantization: Mapping[str, Any], scale: str
    ) -> QuantisedRows | None:
        """Returns rows of zeros in the stored form of a tensor.

        Returns None if the tensor is not stored quantised, or if reading widens it.

        Args:
            name: name of the represented tensor.
            shape: its shape: `[n, k]` for n outputs and k inputs, or `[entries, k, n]` for a stack. For a stack, the
                rows are those of one entry.
            quantization: as for `find`.
            scale: dtype of scales that are stored in the dtype of the model: "float16" or "float32".

        Raises:
            ModelError: a setting does not fit the shape.
        """


_HERE = "jaxchat.checkpoints.forms"
CHECKPOINT_FORMS: Registry[StoredForm] = Registry(
    "checkpoint form",
    "jaxchat.checkpoint_forms",
    {
        "mxfp4": f"{_HERE}.mxfp4:MXFP4",
        "gptq": f"{_HERE}.gptq:GPTQ",
        "awq": f"{_HERE}.awq:AWQ",
        "compressed-tensors": f"{_HERE}.compressed_tensors:COMPRESSED_TENSORS",
        "fp8": f"{_HERE}.fp8:FP8",
        "bitsandbytes": f"{_HERE}.bitsandbytes:BITSANDBYTES",
    },
)


def register_checkpoint_form(quant_method: str, form: StoredForm, *, replace: bool = False) -> None:
    """Registers the stored form of checkpoints whose `quantization_config` names `quant_method`.

    Raises:
        RegistryError: the method has a form already, and `replace` is false.
    """
    CHECKPOINT_FORMS.register(quant_method, form, replace=replace)
