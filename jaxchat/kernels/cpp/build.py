"""Builds the C++ kernels with the machine's own compiler and registers them with XLA."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import jax

from jaxchat.cache import keep

logger = logging.getLogger(__name__)

FOLDER = Path(__file__).parent
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-Wall", "-Wextra")
EXACT = (
    "-ffp-contract=off",
    "-fno-fast-math",
)  # without these, the compiler's choice of fused instructions would change the bits
ARCHITECTURES = {"AVX2": "x86-64-v3", "AVX512": "x86-64-v4"}
"""Values of `--xla_cpu_max_isa` in XLA_FLAGS, which restricts XLA's own programs, and their names in GCC and clang."""
COMPILE_TIMEOUT = 120.0  # seconds


class NativeError(Exception):
    """The error for kernels that cannot be built or loaded on this machine. The message says why."""


def register(folder: Path | None, targets: tuple[str, ...], part: str = "") -> str:
    """Builds the kernels if necessary and registers functions of their library with XLA for CPUs.

    Args:
        folder: folder for built kernels; None builds them for this process alone.
        targets: names of the functions.
        part: the subfolder with the sources of a separate library; "" for the kernels that every model needs.

    Returns:
        The identity of the library. It is appended to the targets' names, so that a compiled program states which
        kernels it calls.

    Raises:
        NativeError: the kernels cannot be built or loaded.
    """
    loaded, identity = library(folder, part)
    for name in targets:
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # the same code from another folder is registered
            jax.ffi.register_ffi_target(f"{name}_{identity}", jax.ffi.pycapsule(getattr(loaded, name)), platform="cpu")
    return identity


@functools.cache
def library(folder: Path | None, part: str = "") -> tuple[ctypes.CDLL, str]:
    """Loads the kernels. Builds them first if `folder` does not contain them.

    Args:
        folder: folder for built kernels; None builds them for this process alone.
        part: the subfolder with the sources of a separate library; "" for the kernels that every model needs.

    Returns:
        The library and its identity: 12 hex digits of a digest of sources, flags, compiler and CPU.

    Raises:
        NativeError: the compiler is missing, fails or takes over two minutes, XLA_FLAGS names unsupported instructions,
            or the library cannot be loaded.
    """
    compiler = _compiler()
    identity = _identity(compiler, part)
    built = _place(folder, part, identity) if folder else None
    if built and built.exists():
        return _load(built), identity
    try:
        with tempfile.TemporaryDirectory(prefix="jaxchat-") as scratch:
            fresh = _compile(compiler, part, Path(scratch))
            return _load(built if built and _copy_to_cache(fresh, built) else fresh), identity
    except OSError as error:
        raise NativeError(f"the kernels cannot be built ({error})") from None


def is_built(folder: Path | None, part: str = "") -> bool:
    """Returns whether `folder` already contains the kernels for this machine.

    Args:
        folder: folder for built kernels; if it is None, the result is False.
        part: the subfolder with the sources of a separate library; "" for the kernels that every model needs.

    Raises:
        NativeError: the compiler is missing or fails, or XLA_FLAGS names unsupported instructions.
    """
    return bool(folder and _place(folder, part, _identity(_compiler(), part)).exists())


def _place(folder: Path, part: str, identity: str) -> Path:
    return folder / f"{part or 'kernels'}-{identity}.so"


def _compiler() -> str:
    compiler = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    if compiler is None:
        raise NativeError(f"missing C++ compiler ({', '.join(COMPILERS)})")
    return compiler


def _load(built: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(built))
    except OSError as error:
        raise NativeError(f"{built} cannot be loaded ({error})") from None


def flags() -> tuple[str, ...]:
    """Returns the compiler flags that make code for this machine, or for the CPU that XLA is restricted to.

    The environment variable XLA_FLAGS may restrict XLA. If the kernels ignored this restriction, a machine with AVX-512
    could not reproduce the bits of a machine without AVX-512.

    Raises:
        NativeError: XLA is restricted to instructions that the kernels do not support.
    """
    limit = re.search(r"--xla_cpu_max_isa=(\w+)", os.environ.get("XLA_FLAGS", ""))
    if limit is None:
        return (*FLAGS, *EXACT, "-march=native")
    if limit[1].upper() not in ARCHITECTURES:
        raise NativeError(f"XLA_FLAGS keeps XLA to {limit[1]}, the kernels know {', '.join(ARCHITECTURES)}")
    return (*FLAGS, *EXACT, f"-march={ARCHITECTURES[limit[1].upper()]}")


def _identity(compiler: str, part: str) -> str:
    [version] = _run((compiler, "--version"))
    parts = (
        *(
            path.read_text("utf-8")
            for path in (*_sources(part), *sorted({*FOLDER.glob("*.h"), *(FOLDER / part).glob("*.h")}))
        ),
        *flags(),
        version,
        platform.machine(),
        cpu(),
        jax.__version__,
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _sources(part: str) -> list[Path]:
    return sorted((FOLDER / part).glob("*.cc"))


def cpu() -> str:
    """Returns text that identifies the CPU's model and instructions, and XLA's CPU flags in XLA_FLAGS.

    Without /proc/cpuinfo, Python's name of the processor replaces model and instructions.
    """
    xla_flags = sorted(re.findall(r"--xla_cpu_\S+", os.environ.get("XLA_FLAGS", "")))
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return "\n".join((platform.processor(), *xla_flags))
    return "\n".join(
        (*sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}), *xla_flags)
    )


def _compile(compiler: str, part: str, scratch: Path) -> Path:
    """Builds the library in `scratch`, compiling all sources in parallel."""
    options, built = (*flags(), "-isystem", jax.ffi.include_dir()), scratch / "kernels.so"
    objects = {source: str(scratch / f"{source.stem}.o") for source in _sources(part)}
    _run(*((compiler, *options, "-c", str(source), "-o", target) for source, target in objects.items()))
    _run((compiler, *options, *objects.values(), "-o", str(built)))
    return built


def _copy_to_cache(fresh: Path, built: Path) -> bool:
    """Copies a library to the cache and returns whether that succeeded."""
    try:
        keep(built, fresh.read_bytes())
    except OSError as error:
        logger.warning("the built kernels are not kept for the next start: %s: %s", built.parent, error.strerror)
        return False
    return True


def _run(*commands: tuple[str, ...]) -> list[str]:
    """Runs commands in parallel and returns the output of each.

    Raises NativeError if a command fails or takes too long.
    """
    started: list[subprocess.Popen[str]] = []
    try:
        for command in commands:
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return [_output(process) for process in started]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeError(f"{commands[0][0]} cannot be run ({error})") from None
    finally:
        for process in started:
            with process:  # closes its pipes and waits for its end
                process.kill()


def _output(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=COMPILE_TIMEOUT)
    if process.returncode:
        assert isinstance(process.args, tuple)
        raise NativeError(f"{process.args[0]} failed: {errors.strip()[:500]}")
    return output
