"""What an engine would need and reach on a slice of accelerators, from shapes alone: no device, no weights.

Memory is exact for weights, KV pages and slots, whose shapes and shardings are those that the engine uses, and
estimated for the programs' workspace. Times are what the makers' peak rates allow: the larger of bytes over bandwidth
and products over peak, and on top the bytes that devices exchange. Real programs stay below those rates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from jaxchat.config import DTypeName, EngineConfig, MeshConfig
from jaxchat.models.checkpoints import shapes
from jaxchat.models.config import ModelConfig
from jaxchat.runtime.building import choose_attention, shapes_of_params, shapes_of_state
from jaxchat.runtime.fitting import fitted
from jaxchat.runtime.hardware import Chip, Topology, alike
from jaxchat.runtime.mesh import Placement
from jaxchat.runtime.state import Sizes


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on each device."""

    weights: int
    pages: int
    slots: int
    workspace: int

    @property
    def total(self) -> int:
        return self.weights + self.pages + self.slots + self.workspace


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One step that `tokens` come out of: seconds in all, and those that reading weights and KV once takes."""

    tokens: int
    seconds: float
    weights: float
    kv: float

    @property
    def floor(self) -> float:
        """No step is faster than its reads."""
        return self.weights + self.kv

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An engine on a slice: `replicas` of it, each over `engine.tensor_parallel` devices."""

    parameters: int
    topology: Topology
    replicas: int
    engine: EngineConfig
    attention: str
    memory: Memory
    per_token: float  # bytes of KV on a device
    alone: Estimate  # decoding one sequence
    together: Estimate  # decoding in all slots
    prefill: Estimate
    enough: str = ""  # the smallest slice of such chips that the model fits on, if not on this one

    @property
    def capacity(self) -> int:
        """Tokens of KV that fit beside the rest, in whole pages but for the null page."""
        room = self.topology.chip.memory - (self.memory.total - self.memory.pages)
        return max(0, int(room / self.per_token) // self.engine.page_size - 1) * self.engine.page_size

    @property
    def wanted(self) -> int:
        """Tokens of KV that give every slot its full context."""
        return self.engine.slots * self.engine.context

    @property
    def fits(self) -> bool:
        """Whether the weights and at least one sequence of full length fit."""
        return self.capacity >= self.engine.context


def suggested(topology: Topology, *, slots: int = 64, context: int = 0, dtype: DTypeName = "bfloat16") -> EngineConfig:
    """Settings that suit accelerators: long chunks, large pages, few decode programs, as weights set their pace."""
    page = 128 if topology.chip.platform == "tpu" else 16
    shapes = tuple(rows for rows in (8,) if rows < slots)
    return EngineConfig(
        slots=slots, context=context, dtype=dtype, chunk=512, page_size=page, decode_shapes=shapes or (slots,)
    )


def make_plan(model: ModelConfig, topology: Topology, engine: EngineConfig) -> Plan:
    """Plans an engine, and where it does not fit finds the smallest slice of the same chips that is enough.

    Raises:
        ValueError: the sizes of `engine` do not fit the model.
    """
    plan = plan_on(model, topology, engine)
    if plan.fits:
        return plan
    larger = (one for one in alike(topology) if one.devices > topology.devices)
    enough = next((one.name for one in larger if plan_on(model, one, engine).fits), "")
    return replace(plan, enough=enough)


def plan_on(model: ModelConfig, topology: Topology, engine: EngineConfig) -> Plan:
    """Plans an engine whose `tensor_parallel` is chosen here: as many devices of the slice as the model divides by.

    Raises:
        ValueError: the sizes of `engine` do not fit the model.
    """
    devices = _devices(model, topology.devices)
    served = fitted(model, devices)
    engine = replace(engine, tensor_parallel=devices)
    sizes = Sizes.resolve(engine, served)
    engine = replace(engine, context=sizes.context)
    placement = Placement.imagined(engine.mesh, served)
    attention = choose_attention(engine, served, placement, topology.chip.platform)
    params = shapes_of_params(served, placement, engine.dtype)
    pages, slots = shapes_of_state(attention.path, served, sizes, placement, engine.dtype)
    per_token = held(pages) / (sizes.pages * sizes.page_size)
    memory = Memory(
        weights=held(params), pages=held(pages), slots=held(slots), workspace=_workspace(served, sizes, devices)
    )
    step = _Step(served, topology.chip, devices, engine.dtype, params, per_token)
    length = sizes.context // 2
    plan = Plan(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(shapes(model))),
        topology=topology,
        replicas=topology.devices // devices,
        engine=engine,
        attention=str(attention),
        memory=memory,
        per_token=per_token,
        alone=step.estimate(1, 1, length),
        together=step.estimate(sizes.slots, sizes.slots, length),
        prefill=step.estimate(sizes.chunk, 1, length),
    )
    return plan if plan.capacity >= plan.wanted else _with_fewer_pages(plan, sizes)


def _with_fewer_pages(plan: Plan, sizes: Sizes) -> Plan:
    """The plan with a pool that fits, or at least holds one sequence."""
    count = max(plan.capacity // sizes.page_size, sizes.table) + 1
    pages = int(count * sizes.page_size * plan.per_token)
    return replace(plan, engine=replace(plan.engine, pages=count), memory=replace(plan.memory, pages=pages))


def held(tree: Any) -> int:
    """Bytes that one device holds of arrays, or shapes with shardings."""
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def exchange(size: int, chip: Chip, devices: int) -> float:
    """Seconds of all-reduces with results of `size` bytes, around a ring; latency is not counted."""
    return 2 * (devices - 1) / devices * size / chip.links


EXPERTS = ("expert_gate_up", "expert_down")


@dataclass(frozen=True)
class _Step:
    """The cost of passing tokens through a model once."""

    model: ModelConfig
    chip: Chip
    devices: int
    dtype: str
    params: dict[str, Any]
    per_token: float  # bytes of KV on a device

    def estimate(self, tokens: int, sequences: int, length: int) -> Estimate:
        """Of a step for so many tokens of sequences that are so long."""
        m, chip = self.model, self.chip
        looked_up = 0 if m.tied else held(self.params["embed"])  # a few rows of it are read
        experts = held([layer["mlp"].get(name, ()) for layer in self._layers() for name in EXPERTS])
        others = held(self.params) - looked_up - experts
        chosen = m.experts.chosen / m.experts.count if m.experts else 0.0
        weights = others + experts * (1 - (1 - chosen) ** tokens)  # the experts that some token has chosen
        kv = self.per_token * sequences * self._seen(length) / chip.bandwidth
        products = tokens * (others + experts * chosen) / jnp.dtype(self.dtype).itemsize
        scores = 2 * m.layers * m.heads * m.head_width / self.devices * tokens * self._seen(length)
        local = max(weights / chip.bandwidth + kv, 2 * (products + scores) / chip.flops)
        reduced = 2 * m.layers * 4 * tokens * m.width  # two sums a layer of f32 [T, D]
        seconds = local + exchange(reduced, chip, self.devices)
        return Estimate(tokens=tokens, seconds=seconds, weights=weights / chip.bandwidth, kv=kv)

    def _seen(self, length: int) -> float:
        """Keys that a token sees, of so many before it: the mean over layers, which may have windows."""
        return sum(min(length, kind.window or length) for kind in self.model.kinds) / self.model.layers

    def _layers(self) -> list[dict[str, Any]]:
        return [self.params[f"layer_{index}"] for index in range(self.model.layers)]


def _devices(model: ModelConfig, available: int) -> int:
    """The most devices, a divisor of those available, over which the model can be split."""
    for devices in (count for count in range(available, 0, -1) if available % count == 0):
        try:
            Placement.imagined(MeshConfig(tensor=devices), fitted(model, devices))
        except ValueError:
            continue
        return devices
    raise AssertionError("every model fits one device's grid")


def _workspace(model: ModelConfig, sizes: Sizes, devices: int) -> int:
    """Temporary memory of the largest program: a chunk's activations and f32 logits, and room for the programs."""
    chunk = sizes.chunk * 4 * (3 * model.ffn_width // devices + 4 * model.width)
    logits = sizes.slots * 4 * 4 * model.vocab_size // devices
    return max(chunk, logits) + PROGRAMS


PROGRAMS = 256 * 1024**2  # bytes of code and constants of a dozen programs
