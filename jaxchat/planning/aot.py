"""Compiles an engine's programs for devices that need not be present, and reads the costs that the compiler reports.

Compiling for TPUs needs the TPU compiler (`pip install 'jaxchat[tpu]'`) but no TPU. Compiling fails if jax has already
looked for TPUs in this process.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh

from jaxchat.compat import described_devices
from jaxchat.config import EngineConfig
from jaxchat.kernels.matmul.weight_only import FUSED_ROWS
from jaxchat.models.config import ModelConfig
from jaxchat.models.sharding import TensorParallel
from jaxchat.parallel.mesh import Placement
from jaxchat.parallel.padding import padded_config
from jaxchat.planning.cost_model import Cost, Estimate, all_reduce_seconds, bytes_per_device
from jaxchat.planning.hardware import Chip, Topology
from jaxchat.planning.hlo import Collective, Program
from jaxchat.planning.overlap import hidden_seconds
from jaxchat.planning.params import planned_params
from jaxchat.planning.planner import Plan
from jaxchat.planning.stored_forms import Stored, not_quantised
from jaxchat.runtime.program_specs import (
    choose_attention,
    decode_name,
    prefill_name,
    program_specs,
    shapes_of_state,
)
from jaxchat.runtime.state import EngineShapes, KVPages
from jaxchat.sampling.processors import find_processors
from jaxchat.sampling.sample import sample


@dataclass(frozen=True, kw_only=True)
class ProgramCosts:
    """The compiler's costs of one program on one device of a slice, in bytes unless a comment says otherwise.

    `traffic` is what unconditional instructions read from and write to main memory. It excludes KV pages, because the
    compiler does not know how many pages a kernel reads. `cycles` excludes kernels, and copies that run beside other
    instructions. Both count a loop over blocks of experts by its average number of iterations.
    """

    name: str
    seconds: float  # seconds to compile
    arguments: int
    temporary: int
    code: int
    aliased: int
    donated: int
    traffic: int
    flops: float  # floating-point operations, without attention
    cycles: float  # estimated cycles of all unconditional instructions, one after the other; 0 for GPUs
    collectives: tuple[Collective, ...]
    hidden_seconds: float  # seconds of all-reduces during which weights are read, see `overlap`
    kernels: dict[str, int]  # number of calls of each kernel

    @property
    def all_reduced_bytes(self) -> int:
        """Bytes that all unconditional all-reduces return."""
        return sum(op.size for op in self.collectives if op.always and op.kind == "all-reduce")

    def local_seconds(self, kv: float, chip: Chip) -> float:
        """Returns the seconds of a step on one device at the chip's peak rates, without all-reduces.

        Args:
            kv: seconds for reading KV pages.
            chip: the device.
        """
        return max(self.traffic / chip.bandwidth + kv, self.flops / chip.flops)

    def step_seconds(self, kv: float, topology: Topology, devices: int) -> float:
        """Returns the seconds of a step including its all-reduces, some of which overlap with reads.

        Args:
            kv: seconds for reading KV pages.
            topology: the slice.
            devices: number of devices that the model is split over.
        """
        chip = topology.chip
        reads = self.traffic / chip.bandwidth + kv - self.hidden_seconds
        return max(reads, self.flops / chip.flops) + all_reduce_seconds(self.all_reduced_bytes, topology, devices)


class AotEngine:
    """The programs of an engine on a slice, ready to compile one by one."""

    def __init__(
        self,
        model: ModelConfig,
        topology: Topology,
        engine: EngineConfig,
        devices: Sequence[jax.Device] = (),
        options: dict[str, Any] | None = None,
        stored: Stored = not_quantised,
    ) -> None:
        """Prepares the programs without compiling any.

        Args:
            model: the model.
            topology: the slice.
            engine: engine settings with `tensor_parallel` and `max_seq_len` set, such as those of a plan.
            devices: devices to compile for. By default the devices of the topology, which must then be TPUs.
            options: compiler options.
            stored: the stored forms of the model's tensors.

        Raises:
            ValueError: settings of `engine` do not fit the model. If `devices` is empty, also raised if the chips are
                not TPUs, the TPU compiler is missing, or the compiler does not know the slice.
        """
        self._options = options
        padded = padded_config(model, engine.tensor_parallel)
        self.sizes = EngineShapes.resolve(engine, padded)
        self.placement = Placement.create(engine.mesh, padded, devices or _devices(topology))
        self.attention = choose_attention(engine, padded, self.placement, topology.chip.platform).backend
        fused_rows = FUSED_ROWS if topology.chip.platform == "gpu" and self.placement.mesh.size == 1 else 0
        self.params = planned_params(model, padded, self.placement, engine, stored, fused_rows)
        self.pages, self.slots = shapes_of_state(self.attention, self.sizes, self.placement)
        per_token = bytes_per_device(self.pages) / (self.sizes.pages * self.sizes.page_size)
        self.cost = Cost(padded, topology, engine.tensor_parallel, engine.dtype, self.params, per_token)
        processors = find_processors(engine.logits_processors)
        sampler = partial(sample, valid=model.vocab_size, report=engine.logprobs, processors=processors)
        tensor_parallel = TensorParallel.over(
            self.placement.mesh, engine.dtype, topology.chip.platform, experts=self.placement.whole_experts
        )
        self.program_specs = program_specs(
            padded, tensor_parallel, self.sizes, sampler, self.attention, engine.decode_sizes
        )

    def compile(self, name: str) -> ProgramCosts:
        """Compiles the program `name`, a key of `program_specs`, and returns its costs. Can take minutes."""
        spec = self.program_specs[name]
        start, mesh = time.perf_counter(), self.placement.mesh
        assert isinstance(mesh, Mesh)
        with jax.set_mesh(mesh):  # kernels look up their device here
            lowered = spec.lower(self.params, self.pages, self.slots, self.placement)
        compiled = lowered.compile(self._options)
        memory, costs, program = compiled.memory_analysis(), compiled.cost_analysis(), Program(compiled.as_text())
        blocks = self.cost.blocks(spec.tokens)
        return ProgramCosts(
            name=name,
            seconds=time.perf_counter() - start,
            arguments=memory.argument_size_in_bytes,
            temporary=memory.temp_size_in_bytes,
            code=memory.generated_code_size_in_bytes,
            aliased=memory.alias_size_in_bytes,
            donated=bytes_per_device((self.pages, self.slots)),
            traffic=round(program.traffic(blocks, _shapes_in_hlo(self.pages))),
            flops=(costs or {}).get("flops", 0.0),  # unknown for GPUs
            cycles=program.cycles(blocks),
            collectives=tuple(program.collectives()),
            hidden_seconds=hidden_seconds(program, self.cost.topology, self.placement.mesh.size),
            kernels=program.kernels(),
        )


def refine(plan: Plan, model: ModelConfig, stored: Stored = not_quantised) -> Plan:
    """Compiles all programs and returns the plan with the compiler's workspace and step times.

    Args:
        plan: the plan.
        model: the model that was planned.
        stored: the stored forms of the model's tensors.

    Raises:
        ValueError: the chips are not TPUs, the TPU compiler is missing, or the compiler does not know the slice.
    """
    aot = AotEngine(model, plan.topology, plan.engine, stored=stored)
    costs = {name: aot.compile(name) for name in aot.program_specs}

    def step(name: str, estimate: Estimate) -> Estimate:
        return replace(
            estimate, seconds=costs[name].step_seconds(estimate.kv, plan.topology, plan.engine.tensor_parallel)
        )

    workspace = max(cost.temporary for cost in costs.values()) + sum(cost.code for cost in costs.values())
    return replace(
        plan,
        memory=replace(plan.memory, workspace=workspace),
        decode_one=step(decode_name(plan.engine.decode_sizes[0]), plan.decode_one),
        decode_full=step(decode_name(plan.engine.slots), plan.decode_full),
        prefill=step(prefill_name(plan.engine.prefill_chunk), plan.prefill),
    )


def _shapes_in_hlo(pages: KVPages) -> frozenset[str]:
    """Returns the shapes of KV pages on one device in HLO notation, such as `bf16[2,3]`."""
    shapes = {(leaf.sharding.shard_shape(leaf.shape), leaf.dtype.name) for leaf in jax.tree.leaves(pages)}
    names = {"bfloat16": "bf16", "float32": "f32", "int8": "s8", "uint16": "u16"}
    return frozenset(f"{names[dtype]}[{','.join(map(str, shape))}]" for shape, dtype in shapes)


def _devices(topology: Topology) -> Sequence[jax.Device]:
    if topology.chip.platform != "tpu":
        raise ValueError(f"topology {topology.name!r}: ahead-of-time compilation supports TPUs only")
    try:
        return described_devices(topology.name, "tpu")
    except Exception as error:  # the compiler raises many types, and jax others if it is missing
        hint = "ahead-of-time compilation needs the TPU compiler, `pip install 'jaxchat[tpu]'`"
        raise ValueError(f"topology {topology.name!r}: {hint} ({str(error).splitlines()[0]})") from None
