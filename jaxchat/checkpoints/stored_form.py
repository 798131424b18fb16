"""The registry of stored forms, in which a checkpoint encodes tensors, such as blocks of numbers with scales."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from jaxchat.registry import Registry


class StoredTensor(Protocol):
    """A tensor that can be read in parts. It has the methods of a slice of a safetensors file."""

    def get_shape(self) -> list[int]:
        """Returns the shape of the represented tensor, not of its stored parts."""

    def get_dtype(self) -> str:
        """Returns the narrowest floating-point dtype that holds the tensor's numbers: "F64", "F32", "F16" or "BF16"."""

    def __getitem__(self, index: Any) -> Any:
        """Returns the entries in the slice `index` of the first axis, as a NumPy array of floating-point numbers."""


class StoredForm(Protocol):
    """One way of storing a tensor as several tensors of a safetensors checkpoint, such as numbers and scales.

    A form is registered under the `quant_method` that `quantization_config` of a `config.json` names.
    """

    def find(self, names: Collection[str], quantization: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
        """Returns the tensors that are stored in this form.

        Args:
            names: names of all stored tensors.
            quantization: `quantization_config` of the `config.json`; empty if it is missing.

        Returns:
            The names of the stored tensors, by the name of the tensor that they represent.
        """

    def open(self, name: str, parts: Mapping[str, Any], quantization: Mapping[str, Any]) -> StoredTensor:
        """Returns the tensor that `parts` represent.

        Args:
            name: name of the represented tensor.
            parts: a slice of each stored tensor by its name, with `get_shape`, `get_dtype` and `[index]`.
            quantization: as for `find`.

        Raises:
            ModelError: the shapes or dtypes of the parts do not match.
        """


CHECKPOINT_FORMS: Registry[StoredForm] = Registry(
    "checkpoint form", "jaxchat.checkpoint_forms", {"mxfp4": "jaxchat.checkpoints.mxfp4:MXFP4"}
)


def register_checkpoint_form(quant_method: str, form: StoredForm, *, replace: bool = False) -> None:
    """Adds the form of checkpoints whose `quantization_config` names `quant_method`.

    Raises:
        RegistryError: the method has a form already, and `replace` is false.
    """
    CHECKPOINT_FORMS.register(quant_method, form, replace=replace)
