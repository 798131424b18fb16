"""The shapes of parameters on their devices: dense, rounded, or as they are stored."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxchat.checkpoints.hf_mapping import stored_slices
from jaxchat.checkpoints.huggingface import keepable
from jaxchat.config import EngineConfig
from jaxchat.models.config import ModelConfig
from jaxchat.models.param_specs import ParamPath, ParamSpec, param_specs, param_tree
from jaxchat.parallel.mesh import Placement
from jaxchat.planning.stored_forms import Stored, not_quantised
from jaxchat.runtime.stored_packing import RowParts, StoredPacking, outputs_of
from jaxchat.runtime.weight_only_packing import WeightOnlyPacking, WeightOnlyShapes


def planned_params(
    model: ModelConfig,
    served: ModelConfig,
    placement: Placement,
    engine: EngineConfig,
    stored: Stored = not_quantised,
    fused_rows: int = 0,
) -> dict[str, Any]:
    """Returns the parameters as accelerators hold them, with a shape, dtype and sharding in place of each array.

    Args:
        model: the model as stored.
        served: the model padded to the devices.
        placement: the devices.
        engine: settings.
        stored: the stored forms of the model's tensors.
        fused_rows: of quantised weights, see `WeightOnly`.
    """
    layout = WeightOnlyShapes(placement, engine.dtype, fused_rows)
    packing, slices, specs = StoredPacking(layout), stored_slices(model), param_specs(model)

    def planned(path: ParamPath, spec: ParamSpec) -> Any:
        if engine.quantize and spec.contracted:
            rows = WeightOnlyPacking(layout, engine.quantize).imagined(spec)
            count = spec.shape[0] if spec.per_expert else 1
            return layout.weight(spec, outputs_of(spec), [RowParts((rows,), np.arange(0))] * count)
        if not engine.quantize and keepable(path, spec):
            pieces = [(part, stored(part)) for part in slices[path]]
            if all(rows is not None for _, rows in pieces):
                packed = packing.pack(spec, [(part, rows) for part, rows in pieces if rows is not None], specs[path])
                if packed is not None:
                    return packed
        return jax.ShapeDtypeStruct(spec.shape, np.dtype(engine.dtype), sharding=placement.parameter(spec))

    return param_tree(param_specs(served), planned)
