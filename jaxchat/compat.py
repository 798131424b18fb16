"""The parts of jax that differ between its supported versions, or that jax may move without notice.

jax 0.10.2 to 0.12 are supported. The text of optimised HLO, which `jaxchat.planning.hlo` and `jaxchat.runtime.compile`
parse, has the same form in all of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import jax
from jax import Array

COMPILED = "/jax/core/compile/backend_compile_duration"  # the event of `jax.monitoring` that counts compiles


def ragged_paged_attention() -> Callable[..., Array]:
    """Returns jax's TPU kernel. Imports it when called, because the import fails on some platforms."""
    from jax.experimental.pallas.ops.tpu import ragged_paged_attention as package

    kernel: Callable[..., Array] = package.ragged_paged_attention
    return kernel


def tokamax_paged_attention(**blocks: int) -> Callable[..., tuple[Array, Array]]:
    """Returns tokamax's TPU kernel with fixed sizes of blocks. Imports tokamax when called.

    The kernel then neither looks for tuned sizes nor at the devices of this process, which may compile for others.

    Args:
        blocks: fields of `tokamax.ops.tpu.BatchedRpaConfig`.
    """
    tpu = import_module("tokamax.ops.tpu")
    kernel: Callable[..., tuple[Array, Array]] = tpu.BatchedRpa(
        config=tpu.BatchedRpaConfig(**blocks), bypass_device_check=True
    )
    return kernel


def described_devices(topology: str, platform: str, /, **options: Any) -> Sequence[jax.Device]:
    """Returns the devices of a slice for ahead-of-time compilation. The devices need not be present.

    Imports jax's module when called, because the import searches for compilers.

    Args:
        topology: name of the slice, such as "v5e:2x4".
        platform: "tpu" or another platform of jax.
        options: further arguments of jax's `get_topology_desc`.

    Raises:
        Exception: jax does not know the slice, or lacks the compiler for it.
    """
    from jax.experimental.topologies import get_topology_desc

    devices: Sequence[jax.Device] = get_topology_desc(topology, platform, **options).devices
    return devices


def reopen_compilation_cache() -> None:
    """Makes jax reopen its persistent cache in the configured folder.

    Otherwise jax would keep the cache that it opened first.
    """
    from jax.experimental.compilation_cache.compilation_cache import reset_cache

    reset_cache()


@contextmanager
def building_kernels() -> Iterator[None]:
    """Silences one warning while programs with GPU kernels are lowered.

    From jax 0.11 on, Pallas warns that its Triton backend is deprecated. The kernels cannot use another backend yet,
    and users of the server cannot act on the warning.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The Pallas Triton backend is deprecated", DeprecationWarning)
        yield
