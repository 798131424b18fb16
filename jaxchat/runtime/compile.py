"""Compiler options, jax's persistent cache, and the count of compiles after the warm-up, which must stay zero."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from jaxchat.compat import COMPILED, reopen_compilation_cache

# The default, and CONDITIONAL and WHILE.
GRAPHS = "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,CONDITIONAL,WHILE"
_NAMES_OF_SOURCE = re.compile(
    r"(, )?metadata=\{[^}]*\}|^(FileNames|FunctionNames|FileLocations|StackFrames)\n(.+\n)*", re.M
)


class CompileCache:
    """A manager of jax's persistent compilation cache, whose folder is a setting of the whole process.

    Within the context of `kept_in`, programs that other threads compile are stored in that folder too. If contexts
    overlap, the context that began last sets the folder for all of them. When no context is left, the settings from
    before the first context are restored.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before: dict[str, Any] = {}

    @contextlib.contextmanager
    def kept_in(self, folder: Path | None) -> Iterator[None]:
        """Makes jax store every program that is compiled within the context, in `folder`. None changes nothing."""
        if folder is None:
            yield
            return
        with self._lock:
            settings = {**_KEEP_ALL, _CACHE_FOLDER: str(folder)}
            if not self._users:
                self._before = {name: getattr(jax.config, name) for name in settings}
            self._users += 1
            _configure(settings)
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    _configure(self._before)


_CACHE_FOLDER = "jax_compilation_cache_dir"
_KEEP_ALL = {"jax_persistent_cache_min_compile_time_secs": 0, "jax_persistent_cache_min_entry_size_bytes": -1}
compile_cache = CompileCache()  # one for the process, as jax has one cache


def _configure(settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        jax.config.update(name, value)
    reopen_compilation_cache()


def options(platform: str) -> dict[str, Any] | None:
    """Returns the compiler options for the platform "cpu" or "gpu", and None for others.

    On a GPU, a step runs as one CUDA graph. The options put the sampler's branches and loops into the graph. Without
    these options, the host waits for the device in every step, and the device then waits for the host. For 1.2 billion
    weights and 64 rows on an H200, a step then takes 3.4 instead of 2.2 ms. The options turn off CUB's sorts, because a
    graph cannot contain them. Independent kernels of a graph run concurrently.

    On a CPU, the options make XLA itself compile sums and elementwise functions. By default, XLA leaves large arrays to
    another library, which computes exponentials differently and adds numbers in another order. A row would then have
    other bits in a batch of 2 rows than in a batch of 32. Matrix products stay with that library, because XLA's own are
    ten times slower in bf16.
    """
    if platform == "cpu":
        return {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
    if platform != "gpu":
        return None
    return {
        "xla_gpu_enable_command_buffer": GRAPHS,
        "xla_gpu_enable_cub_radix_sort": False,
        "xla_gpu_command_buffer_scheduling_mode": "CONCURRENT",
    }


def hlo_digest(compiled: Any) -> str:
    """Returns the SHA-256 (hex) of a program's optimised HLO without the names of source files and lines."""
    return hashlib.sha256(_NAMES_OF_SOURCE.sub("", compiled.as_text()).encode()).hexdigest()


class CompileCounter:
    """A counter of the programs that jax compiles on the thread that last called `watch`.

    Programs of other threads do not count, because another engine may be loading. The counter listens to jax until it
    is closed or no longer referenced.
    """

    def __init__(self) -> None:
        self.count = 0
        self._thread = 0
        counter = weakref.ref(self)  # jax would keep a bound method, and with it the counter, alive for ever

        def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
            if event == COMPILED and (found := counter()):
                found.count_compile()

        jax.monitoring.register_event_duration_secs_listener(listen)
        self._stop = weakref.finalize(self, _stop_listening, listen)
        self._stop.atexit = False

    def watch(self) -> None:
        """Counts the compiles of the calling thread from now on."""
        self._thread = threading.get_ident()

    def close(self) -> None:
        """Stops listening to jax; the count stays."""
        self._stop()

    def count_compile(self) -> None:
        """Counts one program if the calling thread is the watched one."""
        self.count += threading.get_ident() == self._thread


def _stop_listening(listener: Callable[..., None]) -> None:
    with contextlib.suppress(AssertionError, ValueError):  # another caller has removed all listeners
        jax.monitoring.unregister_event_duration_listener(listener)
