"""The engine settings of the workers that run jaxchat."""

from __future__ import annotations

from jaxchat.config import EngineConfig
from tools.bench.workers.line import Settings


def engine_config(settings: Settings) -> EngineConfig:
    """Returns the engine's settings for a run. Activations are float32 if weights are int8 or come from a GGUF file."""
    rounded = settings.dtype == "int8"
    return EngineConfig(
        slots=settings.slots,
        max_seq_len=settings.max_seq_len,
        dtype="float32" if settings.dtype in ("int8", "gguf") else settings.dtype,  # type: ignore[arg-type]
        quantize="int8" if rounded else None,
    )
