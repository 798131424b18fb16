"""Several processes as one JAX program: joining and leaving, and arrays that are divided among processes."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import NamedSharding

from jaxchat.errors import MultihostError
from jaxchat.types import MultihostMember

PEERS_LOST = 300  # seconds; the multihost stream notices losses long before
LAST_WAIT = 30  # seconds that processes wait for each other at the end


def join(member: MultihostMember) -> None:
    """Extends `jax.devices()` to the devices of all processes. Must run before any other use of JAX's devices.

    Raises:
        MultihostError: the processes did not meet in time, or JAX's devices are already in use.
    """
    jax.config.update("jax_enable_preemption_service", False)  # otherwise it swallows SIGTERM
    try:
        jax.distributed.initialize(
            member.distributed,
            member.processes,
            member.process_id,
            cluster_detection_method="deactivate",
            initialization_timeout=int(member.timeout),
            heartbeat_timeout_seconds=PEERS_LOST,
            shutdown_timeout_seconds=LAST_WAIT,
        )
    except RuntimeError as error:
        raise MultihostError(f"JAX's processes did not meet at {member.distributed}: {error}") from None


def leave() -> None:
    """Undoes `join`. Waits before that, at most 30 seconds, until the other processes call `leave` too.

    Does nothing if `join` was not called.

    Without this call, the other processes would report the end of this process as a failure.
    """
    jax.distributed.shutdown()


def block_each_step(sharding: NamedSharding) -> bool:
    """Returns whether a step must end before the next one begins, for arrays with this sharding.

    Collectives between processes on CPUs could deadlock if several steps were in flight.
    """
    return not sharding.is_fully_addressable and jax.default_backend() == "cpu"


def put(tree: Any, sharding: Any) -> Any:
    """Copies a pytree of host arrays, equal in all processes, to devices.

    Each process copies only its part of each array. `jax.device_put` would make the processes compare the arrays, which
    needs a collective operation.

    Args:
        tree: the arrays.
        sharding: one sharding for all arrays, or a pytree of shardings.
    """
    if all(place.is_fully_addressable for place in jax.tree.leaves(sharding)):
        return jax.device_put(tree, sharding)
    return jax.tree.map(_put, tree, jax.tree.broadcast(sharding, tree))


def _put(value: Any, sharding: NamedSharding) -> Array:
    array = np.asarray(value)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def take_part(tree: Any) -> Any:
    """Returns host copies of this process's part of each array in a pytree.

    If this process has all of an array, its part is the whole array. Other arrays must be split along one axis only.
    """
    return jax.tree.map(_part, tree)


def _part(array: Array) -> np.ndarray:
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    assert isinstance(array.sharding, NamedSharding)
    axis = next(axis for axis, name in enumerate(array.sharding.spec) if name)
    shards = sorted(array.addressable_shards, key=lambda shard: shard.index[axis].start or 0)
    return np.concatenate([np.asarray(shard.data) for shard in shards], axis)


def put_part(tree: Any, sharding: Any) -> Any:
    """Makes device arrays from the parts of all processes. Each process passes its own parts, as from `take_part`.

    Args:
        tree: this process's part of each array.
        sharding: one sharding for all arrays, or a pytree of shardings.
    """
    if all(place.is_fully_addressable for place in jax.tree.leaves(sharding)):
        return jax.device_put(tree, sharding)
    place = jax.make_array_from_process_local_data
    return jax.tree.map(lambda part, where: place(where, part), tree, jax.tree.broadcast(sharding, tree))
