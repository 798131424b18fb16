"""The programs that an engine compiles, built from shapes alone: their devices need not be present."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from jaxchat.compat import building_kernels
from jaxchat.config import EngineConfig, most_slices
from jaxchat.kernels.attention.backend import AttentionShape, ModelAttention
from jaxchat.kernels.attention.select import Selection, choose
from jaxchat.models.config import ModelConfig
from jaxchat.models.decoder import Decoder
from jaxchat.models.param_specs import param_specs, param_tree
from jaxchat.models.sharding import TensorParallel
from jaxchat.parallel.mesh import Placement
from jaxchat.runtime.packing import PackedLayout
from jaxchat.runtime.programs import Step, decode_layout, decode_program, prefill_layout, prefill_program
from jaxchat.runtime.state import EngineShapes, KVPages, SlotState, slot_shardings
from jaxchat.sampling.mask import mask_words
from jaxchat.sampling.sample import Sampler


@dataclass(frozen=True)
class ProgramSpec:
    """A program to compile and the layout of its input.

    `tokens` is the number of tokens that the program computes, `rows` the number of rows that it samples.
    """

    step: Step
    layout: PackedLayout
    tokens: int
    rows: int

    def lower(self, params: Any, pages: KVPages, slots: SlotState, placement: Placement) -> Any:
        """Returns the lowered program, to be compiled.

        Args:
            params: the parameters: arrays, or shapes and dtypes with shardings.
            pages: the KV pages, also as arrays or shapes.
            slots: the slots, also as arrays or shapes.
            placement: devices of the model.
        """
        packed = jax.ShapeDtypeStruct((self.layout.size,), np.int32, sharding=placement.replicated)
        vocab = slots.sampling.counts.shape[1]
        bits = jax.ShapeDtypeStruct((self.rows, mask_words(vocab)), np.uint32, sharding=placement.replicated)
        shardings = (*jax.tree.map(lambda leaf: leaf.sharding, (pages, slots)), placement.replicated)
        jitted = jax.jit(self.step, donate_argnums=(1, 2), out_shardings=shardings)
        with building_kernels():
            return jitted.lower(params, pages, slots, packed, bits)


def prefill_name(bucket: int) -> str:
    """Returns the name of the prefill program of `bucket` tokens."""
    return f"prefill[{bucket}]"


def decode_name(rows: int) -> str:
    """Returns the name of the decode program of `rows` rows."""
    return f"decode[{rows}]"


def choose_attention(
    engine: EngineConfig,
    model: ModelConfig,
    placement: Placement,
    platform: str,
    native: Mapping[str, str] = MappingProxyType({}),
) -> Selection:
    """Returns the attention backends of an engine, with the reason for them. The devices need not be present.

    Args:
        engine: settings.
        model: the padded model.
        placement: devices of the model.
        platform: "cpu", "tpu" or "gpu", as jax names them.
        native: custom calls of `jaxchat.kernels.attention.cpu_native` by dtype; empty if they are unavailable.

    Raises:
        RegistryError: the name in `engine.attention` is not registered.
        ValueError: the backend of that name, or for "auto" every backend, cannot serve the model.
    """

    def shape(layer: ModelConfig) -> AttentionShape | None:
        if layer.kind.keys_of is not None:
            return None
        return AttentionShape(
            num_heads=layer.num_heads,
            num_kv_heads=layer.num_kv_heads,
            head_dim=layer.head_dim,
            dtype=engine.dtype,
            page=engine.page_size,
            kv_dtype=engine.kv_dtype,
            shards=placement.mesh.size,
            windows=any(kind.window for kind in model.kinds),
            caps=model.attn_logit_softcap > 0,
            sinks=model.sinks,
        )

    return choose(engine.attention, [*map(shape, model.layers)], platform, placement.mesh, native)


def program_specs(
    model: ModelConfig,
    tensor_parallel: TensorParallel,
    sizes: EngineShapes,
    sampler: Sampler,
    attention: ModelAttention,
    decode_sizes: tuple[int, ...],
) -> dict[str, ProgramSpec]:
    """Returns the programs of an engine by name.

    There is a prefill program for each size in `sizes.prefill_buckets`, and a decode program for each of
    `decode_sizes`.
    """
    decoder = Decoder(model, tensor_parallel)
    programs = {}
    for bucket in sizes.prefill_buckets:
        step = prefill_program(decoder, sizes, sampler, attention, bucket)
        programs[prefill_name(bucket)] = ProgramSpec(step, prefill_layout(sizes, bucket), bucket, most_slices(bucket))
    for rows in decode_sizes:
        step = decode_program(decoder, sizes, sampler, attention, rows)
        programs[decode_name(rows)] = ProgramSpec(step, decode_layout(rows), rows, rows)
    return programs


def shapes_of_state(attention: ModelAttention, sizes: EngineShapes, placement: Placement) -> tuple[KVPages, SlotState]:
    """Returns KV pages and slots with a shape, dtype and sharding in place of each array."""
    pages = jax.eval_shape(lambda: KVPages.zeros(attention, sizes))
    slots = jax.eval_shape(lambda: SlotState.zeros(sizes))
    return (
        jax.tree.map(lambda leaf: _placed(leaf, placement.pages(attention.first)), pages),
        jax.tree.map(_placed, slots, slot_shardings(slots, placement)),
    )


def shapes_of_params(model: ModelConfig, placement: Placement, dtype: str) -> dict[str, Any]:
    """Returns the parameters, unpacked, with a shape, dtype and sharding in place of each array."""
    return param_tree(
        param_specs(model),
        lambda path, spec: jax.ShapeDtypeStruct(spec.shape, np.dtype(dtype), sharding=placement.parameter(spec)),
    )


def _placed(leaf: jax.ShapeDtypeStruct, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
