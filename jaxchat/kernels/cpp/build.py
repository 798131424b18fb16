"""Builds the C++ kernels with the machine's own compiler and makes them known to XLA."""

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
EXACT = ("-ffp-contract=off", "-fno-fast-math")  # a compiler that merges products and sums decides the bits
ARCHITECTURES = {"AVX2": "x86-64-v3", "AVX512": "x86-64-v4"}
"""What `--xla_cpu_max_isa` in XLA_FLAGS holds XLA's own programs to, and GCC's and clang's name for it."""
COMPILE_TIMEOUT = 120.0  # for the compiler


class NativeError(Exception):
    """The kernels cannot be used here; the message says why."""


def register(folder: Path | None, targets: tuple[str, ...]) -> str:
    """Makes `targets`, functions of the kernels' library, known to XLA for CPUs.

    Args:
        folder: as for `library`.
        targets: functions of the sources.

    Returns:
        The identity of the library. It is appended to the targets' names, so that a compiled program says which kernels
        it calls.

    Raises:
        NativeError: there is no compiler, or it fails.
    """
    loaded, identity = library(folder)
    for name in targets:
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # the same code from another folder is registered
            jax.ffi.register_ffi_target(f"{name}_{identity}", jax.ffi.pycapsule(getattr(loaded, name)), platform="cpu")
    return identity


@functools.cache
def library(folder: Path | None) -> tuple[ctypes.CDLL, str]:
    """Builds the kernels unless `folder` holds them.

    Args:
        folder: where built kernels are kept; None builds them for this process alone.

    Returns:
        The library, and what was built from what, by whom and for which CPU, as 12 hex digits.

    Raises:
        NativeError: there is no compiler, or it fails.
    """
    compiler = _compiler()
    identity = _identity(compiler)
    built = folder / f"kernels-{identity}.so" if folder else None
    if built and built.exists():
        return _load(built), identity
    try:
        with tempfile.TemporaryDirectory(prefix="jaxchat-") as scratch:
            fresh = _compile(compiler, Path(scratch))
            return _load(built if built and _copy_to_cache(fresh, built) else fresh), identity
    except OSError as error:
        raise NativeError(f"the kernels cannot be built ({error})") from None


def is_built(folder: Path | None) -> bool:
    """Whether `library(folder)` only has to load the kernels. Raises NativeError as that does."""
    return bool(folder and (folder / f"kernels-{_identity(_compiler())}.so").exists())


def _compiler() -> str:
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        raise NativeError(f"there is no C++ compiler ({', '.join(COMPILERS)})")
    return compiler


def _load(built: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(built))
    except OSError as error:
        raise NativeError(f"{built} cannot be loaded ({error})") from None


def flags() -> tuple[str, ...]:
    """Returns what the compiler is asked for: code for this machine, or for the CPU that XLA is told to keep to.

    XLA_FLAGS is XLA's own setting. Kernels that ignored it would make a machine with AVX-512 no model of one without.

    Raises:
        NativeError: XLA is held to instructions that the kernels are not written for.
    """
    limit = re.search(r"--xla_cpu_max_isa=(\w+)", os.environ.get("XLA_FLAGS", ""))
    if limit is None:
        return (*FLAGS, *EXACT, "-march=native")
    if limit[1].upper() not in ARCHITECTURES:
        raise NativeError(f"XLA_FLAGS keeps XLA to {limit[1]}, the kernels know {', '.join(ARCHITECTURES)}")
    return (*FLAGS, *EXACT, f"-march={ARCHITECTURES[limit[1].upper()]}")


def _identity(compiler: str) -> str:
    [version] = _run((compiler, "--version"))
    parts = (
        *(path.read_text("utf-8") for path in (*_sources(), *sorted(FOLDER.glob("*.h")))),
        *flags(),
        version,
        platform.machine(),
        cpu(),
        jax.__version__,
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _sources() -> list[Path]:
    return sorted(FOLDER.glob("*.cc"))


def cpu() -> str:
    """Returns what tells CPUs apart whose native instructions differ, and how XLA_FLAGS has XLA use them."""
    xla_flags = sorted(re.findall(r"--xla_cpu_\S+", os.environ.get("XLA_FLAGS", "")))
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return "\n".join((platform.processor(), *xla_flags))
    return "\n".join(
        (*sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}), *xla_flags)
    )


def _compile(compiler: str, scratch: Path) -> Path:
    """Builds the library in `scratch`, all sources at the same time."""
    options, built = (*flags(), "-isystem", jax.ffi.include_dir()), scratch / "kernels.so"
    objects = {source: str(scratch / f"{source.stem}.o") for source in _sources()}
    _run(*((compiler, *options, "-c", str(source), "-o", target) for source, target in objects.items()))
    _run((compiler, *options, *objects.values(), "-o", str(built)))
    return built


def _copy_to_cache(fresh: Path, built: Path) -> bool:
    """Copies a library to its place. Returns whether that succeeded."""
    try:
        keep(built, fresh.read_bytes())
    except OSError as error:
        logger.warning("the built kernels are not kept for the next start: %s: %s", built.parent, error.strerror)
        return False
    return True


def _run(*commands: tuple[str, ...]) -> list[str]:
    """Runs commands at the same time and returns what each of them printed."""
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
