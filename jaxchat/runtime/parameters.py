"""Loads a model's parameters from any stored form; pads, places and packs them for mesh and matmul backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxchat.cache import cache_folder
from jaxchat.checkpoints.huggingface import Piece, load_hf
from jaxchat.checkpoints.orbax import has_orbax, restore_orbax
from jaxchat.config import EngineConfig
from jaxchat.models.config import ModelConfig
from jaxchat.models.param_specs import ParamPath, param_specs
from jaxchat.parallel.mesh import Placement
from jaxchat.parallel.padding import pad
from jaxchat.runtime.matmul_backend import choose_packing, choose_rows
from jaxchat.runtime.process_tuning import release_freed_memory, trim_afterwards
from jaxchat.runtime.stored_packing import RowsPacking, StoredPacking
from jaxchat.runtime.weight_only_packing import WeightOnlyPacking, WeightOnlyRows
from jaxchat.runtime.weight_packing import Packing, packed_param
from jaxchat.types import Report


def load_parameters(
    directory: Path,
    model: ModelConfig,
    served: ModelConfig,
    engine: EngineConfig,
    placement: Placement,
    report: Report = lambda *_: None,
    *,
    tune_process: bool = False,
) -> tuple[dict[str, Any], str, str]:
    """Returns parameters on their devices, the digest of the weights, and a phrase that describes the matmul backend.

    Args:
        directory: a directory with a checkpoint of `model`.
        model: the model as stored.
        served: the model padded to the devices of `placement`.
        engine: settings.
        placement: devices of the model.
        report: called with the progress.
        tune_process: whether to change the C library's allocator permanently, see `release_freed_memory`.

    Raises:
        ModelError: the checkpoint is damaged or does not fit `model`.
        ValueError: the matmul backend does not support the devices.
    """
    # On other platforms, logits are in device memory.
    logits = engine.slots * served.vocab_size if jax.default_backend() == "cpu" else 0
    with release_freed_memory(logits) if tune_process else trim_afterwards():
        choose = partial(choose_packing, engine, placement, cache_folder(engine.cache_dir), report)
        rows = partial(choose_rows, engine, placement, cache_folder(engine.cache_dir), report)
        prepare = _Preparation(model, served, placement, choose, rows)
        if has_orbax(directory):
            report("loading weights", 0, 1)
            params, digest = restore_orbax(
                directory, model, dtype=engine.dtype, sharding=placement.parameter, finish=prepare.restored
            )
        else:
            params, digest = load_hf(
                directory,
                model,
                dtype=engine.dtype,
                place=prepare.loaded,
                keep=prepare.kept if engine.quantize is None else None,
                progress=lambda done, total: report("loading weights", done, total),
            )
    return params, digest, prepare.phrase


class _Preparation:
    """A pipeline that gives one parameter after the other the form in which it is served: padded, packed and placed.

    Intermediate arrays of a parameter are freed before the next one is handled. Parameters in Hugging Face form are
    read one at a time and placed once. Orbax reads a whole layer onto the devices first.
    """

    def __init__(
        self,
        model: ModelConfig,
        served: ModelConfig,
        placement: Placement,
        choose: Callable[[], tuple[Packing | WeightOnlyPacking | None, str]],
        rows: Callable[[], RowsPacking],
    ) -> None:
        self._stored, self._served = param_specs(model), param_specs(served)
        self._pad = partial(pad, model=model, target=served)
        self._placement = placement
        self._choose, self._rows = choose, rows

    @cached_property
    def packing(self) -> tuple[Packing | WeightOnlyPacking | None, str]:
        """The result of `choose_packing`. It is computed at the first use, after the checkpoint was checked."""
        return self._choose()

    @cached_property
    def _layout(self) -> RowsPacking:
        return self._rows()

    @cached_property
    def stored_packing(self) -> StoredPacking:
        """The packing of weights that are stored quantised. Its kernels are built at the first use."""
        return StoredPacking(self._layout)

    @property
    def phrase(self) -> str:
        """A phrase that describes the matmul backend, the sizes of stored codes, and why some weights were widened."""
        stored = self.stored_packing if "stored_packing" in self.__dict__ else None
        bits = ", ".join(map(str, sorted(stored.bits))) if stored else ""
        packing, phrase = self.packing
        phrase = f"of weights in {bits} bits {phrase}" if bits else phrase
        layout = packing.layout if isinstance(packing, WeightOnlyPacking) else self._layout if stored else None
        if isinstance(layout, WeightOnlyRows) and any(layout.used):
            phrase += f", for up to {max(layout.used)} rows by a kernel"
        widened = stored.widened.items() if stored else ()
        return "; ".join([phrase, *(f"widened weights: {count} ({reason})" for reason, count in widened)])

    def kept(self, path: ParamPath, pieces: Sequence[Piece]) -> Any:
        """Returns the served form of a parameter that is stored quantised, or None if it must be widened."""
        packed = self.stored_packing.pack(self._served[path], pieces, self._stored[path])
        return None if packed is None else self._placed(jax.block_until_ready(packed))

    def loaded(self, path: ParamPath, array: np.ndarray) -> Any:
        """Returns the served form of a parameter of `model` that is in host memory."""
        served, padded = self._served[path], self._pad(path, self._stored[path], array)
        packing, _ = self.packing
        if isinstance(packing, WeightOnlyPacking) and served.contracted:
            return self._placed(packing.rounded(served, padded))
        return self._packed(path, self._placement.place(served, padded))

    def restored(self, path: ParamPath, array: jax.Array) -> Any:
        """Returns the served form of a parameter of `model` that is on its devices."""
        stored, served = self._stored[path], self._served[path]
        if stored.shape != served.shape:
            sharding = self._placement.parameter(served)
            array = jax.jit(partial(self._pad, path, stored), out_shardings=sharding)(array)
        return self._packed(path, array)

    def _packed(self, path: ParamPath, array: jax.Array) -> Any:
        packing, _ = self.packing
        served = self._served[path]
        if isinstance(packing, WeightOnlyPacking):
            if not array.is_fully_addressable:
                raise ValueError(f"quantize {packing.quantize} over several hosts needs a model in Hugging Face format")
            return self._placed(packing.rounded(served, np.asarray(array))) if served.contracted else array
        return self._placed(packed_param(array, served, packing)) if packing else array

    def _placed(self, packed: Any) -> Any:
        """Gives the arrays of a packed parameter the shardings that placed arrays have.

        Compiled programs depend on shardings. Weights in groups are packed on the host and get no sharding there.
        Without this call, the programs for different copies of the model would differ.
        """
        return self._placement.copy(packed)
