"""Accelerators, their makers' specifications, and the slices that one engine can span."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from jaxchat.arithmetic import cdiv

GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One kind of device. Rates are the maker's peak rates, per second.

    Attributes:
        platform: JAX's name of the platform.
        memory: bytes of memory that programs can use: what the compiler allows on a TPU, and 90 % of all memory on a
            GPU.
        bandwidth: bytes read from or written to memory.
        flops: operations in bfloat16.
        link: bytes sent to one neighbour, one way. For a GPU, half of the rate to its switch.
        host: number of devices of the largest host. TPU slices with several hosts have four on each.
    """

    platform: Literal["tpu", "gpu"]
    memory: float
    bandwidth: float
    flops: float
    link: float
    host: int


CHIPS = {
    "v4": Chip(platform="tpu", memory=31.25 * GIB, bandwidth=1228e9, flops=275e12, link=50e9, host=4),
    "v5e": Chip(platform="tpu", memory=15.75 * GIB, bandwidth=819e9, flops=197e12, link=50e9, host=8),
    "v5p": Chip(platform="tpu", memory=95.74 * GIB, bandwidth=2765e9, flops=459e12, link=100e9, host=4),
    "v6e": Chip(platform="tpu", memory=31.25 * GIB, bandwidth=1640e9, flops=918e12, link=100e9, host=8),
    "h100": Chip(platform="gpu", memory=0.9 * 80e9, bandwidth=3350e9, flops=989e12, link=225e9, host=8),
    "h200": Chip(platform="gpu", memory=0.9 * 141e9, bandwidth=4800e9, flops=989e12, link=225e9, host=8),
}
_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_DEEP = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8")
_NODE = ("1", "2", "4", "8")
SLICES = {"v4": _DEEP, "v5e": _FLAT, "v5p": _DEEP, "v6e": _FLAT, "h100": _NODE, "h200": _NODE}


@dataclass(frozen=True)
class Topology:
    """A slice: connected chips of one kind. `name` is, for example, `v5e:2x4` or `h200:8`."""

    name: str
    chip: Chip
    devices: int

    def links(self, devices: int) -> float:
        """Returns the bytes per second that each of `devices` devices sends to its neighbours during an all-reduce.

        In an all-reduce over a whole three-dimensional slice, the TPU compiler uses all dimensions at once. Each device
        then sends to one neighbour in a dimension of two devices, and to two neighbours in a larger dimension. All
        other all-reduces use a ring.
        """
        sides = [int(side) for side in self.name.partition(":")[2].split("x")]
        if len(sides) < 3 or devices < self.devices:
            return 2 * self.chip.link
        return self.chip.link * sum(min(side - 1, 2) for side in sides)

    @property
    def devices_per_host(self) -> int:
        """Number of devices of the slice on one host."""
        return self.devices // self.hosts(self.devices)

    def hosts(self, devices: int) -> int:
        """Returns the number of hosts that are needed for `devices` devices of the slice."""
        return cdiv(devices, self.chip.host if self.devices <= self.chip.host else 4)


def parse_topology(name: str) -> Topology:
    """Returns the slice `name`, such as `v5e:2x4`. Raises ValueError, with the known names, if it is unknown."""
    kind, _, grid = name.lower().partition(":")
    if kind not in CHIPS:
        raise ValueError(
            f"topology {name!r}: unknown chip {kind!r}; known: {', '.join(CHIPS)}, as in v5e:2x4 or h200:8"
        )
    if grid not in SLICES[kind]:
        wrong = f"unknown slice {grid!r} of {kind}" if grid else f"the slice is missing, as in {kind}:{SLICES[kind][2]}"
        raise ValueError(f"topology {name!r}: {wrong}; accepted: {', '.join(SLICES[kind])}")
    return Topology(name.lower(), CHIPS[kind], math.prod(map(int, grid.split("x"))))


def slices_of(topology: Topology) -> list[Topology]:
    """Returns every known slice with chips of the same kind, smallest first. Includes `topology` itself."""
    kind = topology.name.partition(":")[0]
    return [parse_topology(f"{kind}:{grid}") for grid in SLICES[kind]]
