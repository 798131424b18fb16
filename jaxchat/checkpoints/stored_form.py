"""Forms in which a checkpoint stores a tensor other than as one array of floating numbers, and their registry."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from jaxchat.registry import Registry


class StoredTensor(Protocol):
    """A tensor that is read in part, with the methods of a slice of a safetensors file."""

    def get_shape(self) -> list[int]:
        """Returns the shape of the tensor that is meant."""

    def get_dtype(self) -> str:
        """Returns the narrowest floating dtype that holds its numbers: F64, F32, F16 or BF16."""

    def __getitem__(self, index: Any) -> Any:
        """Returns entries on the first axis as a NumPy array of floating numbers."""


class StoredForm(Protocol):
    """One way of storing a tensor as several tensors of a safetensors checkpoint, such as numbers and scales.

    It is registered under the `quant_method` that `quantization_config` of a `config.json` names.
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
        """Returns a tensor of its parts.

        Args:
            name: of the tensor.
            parts: a slice of each stored tensor by its name, with `get_shape`, `get_dtype` and `[index]`.
            quantization: as for `find`.

        Raises:
            ModelError: the parts do not fit each other.
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
