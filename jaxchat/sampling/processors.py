"""Logits processors: functions that an operator adds to the sampler.

They run after penalties, and before exclusive tokens, bans, grammar and temperature.

Letters: S rows, V tokens in the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FunctionType

from jax import Array

from jaxchat.registry import Registry
from jaxchat.sampling.state import SamplingState

Process = Callable[[Array, SamplingState], Array]
"""Maps logits f32 `[S, V]` and the state of the same S rows to logits f32 `[S, V]`.

A processor must be pure, and row i of its result must depend on row i of the arguments alone: otherwise a neighbour in
the batch could change an answer. It is a module-level function or a frozen dataclass with `__call__`. The repr of a
dataclass must tell everything that decides its result, because the repr goes into `system_fingerprint`.
"""
LOGITS_PROCESSORS: Registry[Process] = Registry("logits processor", "jaxchat.logits_processors")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def register_logits_processor(name: str, process: Process, *, replace: bool = False) -> None:
    """Adds a processor to the registry, so that `EngineConfig.logits_processors` may name it.

    Raises:
        RegistryError: the name is taken, and `replace` is false.
    """
    LOGITS_PROCESSORS.register(name, process, replace=replace)


@dataclass(frozen=True)
class LogitsProcessor:
    """A registered logits processor with its name."""

    name: str
    process: Process

    def __call__(self, logits: Array, state: SamplingState) -> Array:
        """Returns the processed logits f32 `[S, V]`.

        Raises:
            ValueError: the processor returns another shape or dtype; raised while the program is traced.
        """
        processed = self.process(logits, state)
        if processed.shape != logits.shape or processed.dtype != logits.dtype:
            raise ValueError(
                f"logits processor {self.name!r} must return {logits.dtype} {list(logits.shape)}, "
                f"got {processed.dtype} {list(processed.shape)}"
            )
        return processed

    @property
    def identity(self) -> str:
        """A string that identifies the processor: its name, and its function or repr. It is equal in all processes.

        Raises:
            ValueError: the processor is not a module-level function, and its repr contains a memory address.
        """
        process = self.process
        if isinstance(process, FunctionType) and "<" not in process.__qualname__:  # as in <lambda> and <locals>
            return f"{self.name}={process.__module__}.{process.__qualname__}"
        if _ADDRESS.search(repr(process)):
            raise ValueError(
                f"logits processor {self.name!r} must be a function of a module or a frozen dataclass, got {process!r}"
            )
        return f"{self.name}={process!r}"


def find_processors(names: Iterable[str]) -> tuple[LogitsProcessor, ...]:
    """Returns the processors of these names, in order.

    Raises:
        RegistryError: a name is not registered.
        ValueError: a processor has no `identity`.
    """
    processors = tuple(LogitsProcessor(name, LOGITS_PROCESSORS.get(name)) for name in names)
    for processor in processors:
        _ = processor.identity
    return processors
