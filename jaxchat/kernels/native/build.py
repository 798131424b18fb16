"""Builds the C++ kernels with the machine's own compiler and makes them known to XLA."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import jax

FOLDER = Path(__file__).parent
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-Wall", "-Wextra")
EXACT = ("-ffp-contract=off", "-fno-fast-math")  # a compiler that merges products and sums decides the bits
ARCHITECTURES = {"AVX2": "x86-64-v3", "AVX512": "x86-64-v4"}
"""What `--xla_cpu_max_isa` in XLA_FLAGS holds XLA's own programs to, and GCC's and clang's name for it."""
SECONDS = 120.0  # for the compiler


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
    if folder is None:
        with tempfile.TemporaryDirectory() as own:
            return library(Path(own))
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        raise NativeError(f"there is no C++ compiler ({', '.join(COMPILERS)})")
    identity = _identity(compiler)
    built = folder / f"kernels-{identity}.so"
    if not built.exists():
        _compile(compiler, built)
    try:
        return ctypes.CDLL(str(built)), identity
    except OSError as error:
        raise NativeError(f"{built} cannot be loaded ({error})") from None


def flags() -> tuple[str, ...]:
    """Returns what the compiler is asked for: code for this machine, or for the CPU that XLA is told to keep to.

    XLA_FLAGS is XLA's own setting. Kernels that ignored it would make a machine with AVX-512 no model of one without.

    Raises:
        NativeError: XLA is held to instructions that the kernels are not written for.
    """
    wanted = re.search(r"--xla_cpu_max_isa=(\w+)", os.environ.get("XLA_FLAGS", ""))
    if wanted is None:
        return (*FLAGS, *EXACT, "-march=native")
    if wanted[1].upper() not in ARCHITECTURES:
        raise NativeError(f"XLA_FLAGS keeps XLA to {wanted[1]}, the kernels know {', '.join(ARCHITECTURES)}")
    return (*FLAGS, *EXACT, f"-march={ARCHITECTURES[wanted[1].upper()]}")


def _identity(compiler: str) -> str:
    version = _run(compiler, "--version")
    parts = (
        *(path.read_text("utf-8") for path in (*_sources(), *sorted(FOLDER.glob("*.h")))),
        *flags(),
        version,
        platform.machine(),
        _cpu(),
        jax.__version__,
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _sources() -> list[Path]:
    return sorted(FOLDER.glob("*.cc"))


def _cpu() -> str:
    """What tells CPUs apart whose native instructions differ."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))


def _compile(compiler: str, built: Path) -> None:
    """To a file of its own first: another process may be building the same."""
    built.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(suffix=".so", dir=built.parent)
    os.close(handle)
    try:
        _run(compiler, *flags(), "-isystem", jax.ffi.include_dir(), *map(str, _sources()), "-o", unfinished)
        os.replace(unfinished, built)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeError(f"{command[0]} cannot be run ({error})") from None
    if done.returncode:
        raise NativeError(f"{command[0]} failed: {done.stderr.strip()[:500]}")
    return done.stdout
