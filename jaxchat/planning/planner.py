"""Plans an engine on a slice of accelerators, from shapes alone: neither devices nor weights are needed.

Memory is exact for weights, KV pages and slots, because the engine uses the same shapes and shardings. Only the memory
of the programs' workspace is estimated. The time of a step is the time of its reads or of its matrix products,
whichever is longer, plus the time of its all-reduces. These times are computed at the maker's peak rates. Real programs
are slower.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from jaxchat.config import DTypeName, EngineConfig, KVDTypeName, MeshConfig, Quantize
from jaxchat.models.config import ModelConfig
from jaxchat.models.param_specs import param_count
from jaxchat.parallel.mesh import Placement
from jaxchat.parallel.padding import padded_config
from jaxchat.planning.cost_model import Cost, Estimate, bytes_per_device, largest_dequantised
from jaxchat.planning.hardware import Topology, slices_of
from jaxchat.planning.html import plan_html
from jaxchat.planning.params import planned_params
from jaxchat.planning.stored_forms import Stored, not_quantised
from jaxchat.runtime.program_specs import choose_attention, shapes_of_state
from jaxchat.runtime.state import EngineShapes


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The memory that an engine takes on each device, in bytes.

    Attributes:
        weights: the parameters.
        pages: the KV pages.
        slots: the sampling state of the slots.
        workspace: temporary memory and code of the programs.
    """

    weights: int
    pages: int
    slots: int
    workspace: int

    @property
    def total(self) -> int:
        return self.weights + self.pages + self.slots + self.workspace


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A plan for a slice: `replicas` copies of the model, each on `engine.tensor_parallel` devices.

    One server runs `engine.data_parallel` replicas: as many as the devices of one host allow. `parameters` is the
    number of the model's parameters.
    """

    parameters: int
    topology: Topology
    replicas: int
    engine: EngineConfig
    attention: str
    memory: Memory
    per_token: float  # bytes of KV on a device
    decode_one: Estimate  # decoding one sequence
    decode_full: Estimate  # decoding in all slots
    prefill: Estimate
    smallest_fit: str = ""  # the smallest slice of these chips that the model fits on, if it does not fit on this one

    @property
    def capacity(self) -> int:
        """Tokens whose KV pages fit beside weights, slots and workspace, without the null page."""
        room = self.topology.chip.memory - (self.memory.total - self.memory.pages)
        return max(0, int(room / self.per_token) // self.engine.page_size - 1) * self.engine.page_size

    @property
    def full_length(self) -> int:
        """Tokens of the longest possible sequence, prompt plus answer."""
        return self.engine.max_seq_len or 0  # `plan_on` has set it

    @property
    def full_capacity(self) -> int:
        """Tokens in all slots together if every slot has a sequence of full length."""
        return self.engine.slots * self.full_length

    @property
    def fits(self) -> bool:
        """Whether the weights and at least one sequence of full length fit."""
        return self.capacity >= self.full_length

    @property
    def verdict(self) -> str:
        """Whether the model fits, in words, with the reason if it does not."""
        if not self.fits:
            larger = f"; it fits on {self.smallest_fit}" if self.smallest_fit else ""
            return f"no: the remaining memory holds {self.capacity:,} tokens of KV, but one sequence needs more{larger}"
        if self.capacity < self.full_capacity:
            return "yes, but not with all slots at full length: then the newest sequences wait in host memory"
        return "yes"

    def _repr_html_(self) -> str:
        return plan_html(self)


def suggest_config(
    topology: Topology,
    *,
    slots: int = 64,
    max_seq_len: int | None = None,
    dtype: DTypeName = "bfloat16",
    kv_dtype: KVDTypeName | None = None,
    quantize: Quantize | None = None,
) -> EngineConfig:
    """Returns settings that suit accelerators: large chunks, large pages on a TPU, and few decode programs.

    Few decode programs suffice, because a decode step mainly reads weights, whatever its number of rows. The arguments
    other than `topology` are settings of `EngineConfig`.
    """
    page = 128 if topology.chip.platform == "tpu" else 16
    return EngineConfig(
        slots=slots,
        max_seq_len=max_seq_len,
        dtype=dtype,
        kv_dtype=kv_dtype,
        quantize=quantize,
        prefill_chunk=512,
        page_size=page,
        decode_buckets=(8,),
    )


def make_plan(model: ModelConfig, topology: Topology, engine: EngineConfig, stored: Stored = not_quantised) -> Plan:
    """Plans an engine on a slice. `stored` has the stored forms of the model's tensors.

    If the model does not fit, `smallest_fit` of the plan names the smallest slice of the same chips that is large
    enough. If no slice is large enough, `smallest_fit` is "".

    Raises:
        ValueError: settings of `engine` do not fit the model.
    """
    plan = plan_on(model, topology, engine, stored)
    if plan.fits:
        return plan
    larger = (candidate for candidate in slices_of(topology) if candidate.devices > topology.devices)
    fitting = (candidate.name for candidate in larger if plan_on(model, candidate, engine, stored).fits)
    return replace(plan, smallest_fit=next(fitting, ""))


def plan_on(model: ModelConfig, topology: Topology, engine: EngineConfig, stored: Stored = not_quantised) -> Plan:
    """Plans an engine and chooses its `tensor_parallel`, `data_parallel` and `max_seq_len`.

    `tensor_parallel` is the largest divisor of the slice's devices over which the model can be split without additional
    query heads. Also sets `pages` if memory does not hold a sequence of full length in every slot.

    Raises:
        ValueError: settings of `engine` do not fit the model, for example expert parallelism without experts.
    """
    devices = _devices(model, engine.mesh, topology.devices)
    padded = padded_config(model, devices)
    engine = replace(engine, tensor_parallel=devices, data_parallel=max(1, topology.devices_per_host // devices))
    sizes = EngineShapes.resolve(engine, padded)
    engine = replace(engine, max_seq_len=sizes.max_seq_len)
    placement = Placement.imagined(engine.mesh, padded)
    attention = choose_attention(engine, padded, placement, topology.chip.platform)
    params = planned_params(model, padded, placement, engine, stored)
    pages, slots = shapes_of_state(attention.backend, sizes, placement)
    per_token = bytes_per_device(pages) / (sizes.pages * sizes.page_size)
    memory = Memory(
        weights=bytes_per_device(params),
        pages=bytes_per_device(pages),
        slots=bytes_per_device(slots),
        workspace=_workspace(padded, sizes, engine, topology.chip.platform, params),
    )
    cost = Cost(padded, topology, devices, engine.dtype, params, per_token)
    length = sizes.max_seq_len // 2
    plan = Plan(
        parameters=param_count(model),
        topology=topology,
        replicas=topology.devices // devices,
        engine=engine,
        attention=str(attention),
        memory=memory,
        per_token=per_token,
        decode_one=cost.estimate(1, 1, length),
        decode_full=cost.estimate(sizes.slots, sizes.slots, length),
        prefill=cost.estimate(sizes.chunk, 1, length),
    )
    return plan if plan.capacity >= plan.full_capacity else _with_fewer_pages(plan, sizes)


def _with_fewer_pages(plan: Plan, sizes: EngineShapes) -> Plan:
    """Returns the plan with the largest page pool that fits.

    However, the pool is never too small for one sequence of full length.
    """
    count = max(plan.capacity // sizes.page_size, sizes.table) + 1
    pages = int(count * sizes.page_size * plan.per_token)
    return replace(plan, engine=replace(plan.engine, pages=count), memory=replace(plan.memory, pages=pages))


def _devices(model: ModelConfig, mesh: MeshConfig, available: int) -> int:
    """Returns the largest divisor of `available` over which the model can be split without additional query heads.

    Raises:
        ValueError: `mesh` requires experts, and the model has none.
    """
    for devices in (count for count in range(available, 0, -1) if available % count == 0):
        padded = padded_config(model, devices)
        try:
            Placement.imagined(replace(mesh, tensor=devices), padded)
        except ValueError:
            continue
        if padded.num_heads > model.num_heads:
            continue
        return devices
    raise ValueError("expert_parallel needs a model with experts")


def _workspace(
    model: ModelConfig, sizes: EngineShapes, engine: EngineConfig, platform: str, params: dict[str, Any]
) -> int:
    """Estimates the bytes of the largest program's temporary memory.

    These are the activations of a chunk, or arrays of f32 logits for all slots, whichever are larger. There are four
    such arrays, and 18 on a TPU (17.5 in the programs of Gemma 3 12B in int8 for one v6e). On a TPU, adds the code of
    all programs. On a GPU, adds a dequantised weight, which a chunk's products read from memory.
    """
    devices = engine.tensor_parallel
    mlp_dim = max(layer.mlp_dim for layer in model.layers)
    chunk = sizes.chunk * 4 * (3 * mlp_dim // devices + 4 * model.embed_dim)
    logits = sizes.slots * 4 * model.vocab_size
    if platform != "tpu":
        return max(chunk, 4 * logits // devices) + largest_dequantised(params)
    programs = 1 + len(engine.decode_sizes)
    return max(chunk, 18 * logits // devices) + programs * (CODE + model.num_layers * CODE_OF_LAYER)


CODE, CODE_OF_LAYER = 16 * 1024**2, 1024**2  # bytes of one program of the TPU compiler
