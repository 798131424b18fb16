"""The types of tensors in GGUF files: how many values a block holds, and in how many bytes."""

from __future__ import annotations

from dataclasses import dataclass

from jaxchat.errors import ModelError


@dataclass(frozen=True)
class TensorType:
    """A type of tensor. Each row is a sequence of blocks, and no block spans two rows."""

    name: str
    values: int  # of a block
    size: int  # of a block, in bytes

    def bytes_of(self, values: int) -> int:
        """Returns how many bytes store `values` numbers. `values` must be a multiple of the numbers in a block."""
        return values // self.values * self.size


_SUPPORTED = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    30: TensorType("BF16", 1, 2),
    8: TensorType("Q8_0", 32, 34),
    2: TensorType("Q4_0", 32, 18),
    3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22),
    7: TensorType("Q5_1", 32, 24),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
    39: TensorType("MXFP4", 32, 17),
}
_OTHERS = {
    **{4: "Q4_2", 5: "Q4_3", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS"},
    **{18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16"},
    **{26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 40: "NVFP4", 41: "Q1_0", 42: "Q2_0"},
}


def tensor_type(number: int) -> TensorType:
    """Returns the tensor type with this number in GGUF files. Raises ModelError if the type is not supported."""
    if number in _SUPPORTED:
        return _SUPPORTED[number]
    name = _OTHERS.get(number, f"number {number}")
    supported = ", ".join(kind.name for kind in _SUPPORTED.values())
    raise ModelError(f"type {name} is not supported; supported: {supported}")
