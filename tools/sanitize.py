"""Runs the tests of the C++ kernels with AddressSanitizer and UndefinedBehaviorSanitizer: `make sanitize`.

Preloads the sanitizers' libraries, because Python is not linked with them. Ignores leaks, because the interpreter
itself does not free all memory.
"""

from __future__ import annotations

import os
import subprocess
import sys

FLAGS = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
LIBRARIES = ("libasan.so", "libubsan.so")
TESTS = (
    "tests/kernels/matmul/test_grouped.py",
    "tests/kernels/matmul/test_native.py",
    "tests/kernels/matmul/test_int8.py",
    "tests/kernels/attention/test_cpu_native.py",
)
UNCHANGED = "not built_once and not compiler and not other_cpus"  # excludes tests of the build itself


def main() -> int:
    """Runs pytest in a process with the sanitizers, and returns the exit status of pytest."""
    if "--inside" in sys.argv:
        return _test()
    libraries = [
        subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in LIBRARIES
    ]
    environment = {
        **os.environ,
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    return subprocess.run([sys.executable, "-m", "tools.sanitize", "--inside"], env=environment, check=False).returncode


def _test() -> int:
    import pytest

    from jaxchat.kernels.cpp import build

    build.COMPILERS = ("g++",)
    build.FLAGS = (*build.FLAGS, *FLAGS)
    build.COMPILE_TIMEOUT = 900.0
    return int(pytest.main(["-p", "no:xdist", "-k", UNCHANGED, *TESTS]))


if __name__ == "__main__":
    sys.exit(main())
