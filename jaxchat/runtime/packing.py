"""One packed int32 buffer for all inputs of a step, so that a step costs one transfer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


@dataclass(frozen=True)
class PackedLayout:
    """A layout of named arrays, end to end in one int32 buffer. Every dtype has four bytes, and values keep their bits.

    Raises:
        ValueError: two arrays have the same name.
    """

    fields: tuple[tuple[str, tuple[int, ...], str], ...]  # name, shape, dtype

    def __post_init__(self) -> None:
        names = [name for name, _, _ in self.fields]
        if len({*names}) < len(names):
            raise ValueError(f"two arrays have one name: {', '.join(names)}")

    @property
    def size(self) -> int:
        """The length of a buffer, in int32 words."""
        return sum(math.prod(shape) for _, shape, _ in self.fields)

    def pack(self, **values: np.ndarray | int | float) -> np.ndarray:
        """Returns a new i32 `[size]` buffer with one value for each field, broadcast to the field's shape.

        The buffer must not be reused, because its transfer may still be running after the step is dispatched.

        Raises:
            KeyError: a field has no value.
            TypeError: a value has no field.
            ValueError: a value cannot be broadcast to the shape of its field.
        """
        buffer = np.empty(self.size, np.int32)
        for name, view in self.host_views(buffer).items():
            view[...] = values.pop(name)
        if values:
            raise TypeError(f"no such field: {', '.join(values)}")
        return buffer

    def host_views(self, buffer: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the arrays in a host buffer i32 `[size]` by name, as views."""
        arrays, offset = {}, 0
        for name, shape, dtype in self.fields:
            end = offset + math.prod(shape)
            arrays[name] = buffer[offset:end].view(dtype).reshape(shape)
            offset = end
        return arrays

    def unpack(self, buffer: Array) -> dict[str, Array]:
        """Returns the arrays in a device buffer i32 `[size]` by name, for use in a compiled program."""
        arrays, offset = {}, 0
        for name, shape, dtype in self.fields:
            end = offset + math.prod(shape)
            bits = jax.lax.slice(buffer, (offset,), (end,)).reshape(shape)
            arrays[name] = jax.lax.bitcast_convert_type(bits, jnp.dtype(dtype))
            offset = end
        return arrays
