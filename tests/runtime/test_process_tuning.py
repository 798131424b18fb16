"""What a thread frees, between loading and the end, is there for its next step without a fault for each page."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, resource, threading
from jaxchat.runtime.process_tuning import release_freed_memory

with release_freed_memory({logits}):
    pass
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p

def steps():
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        memory = ctypes.c_void_p(libc.malloc(ctypes.c_size_t({size})))
        ctypes.memset(memory, 1, {size})
        libc.free(memory)
        print(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before)

thread = threading.Thread(target=steps)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
@pytest.mark.parametrize(("size", "logits"), [(20 << 20, 0), (100 << 20, 32 * 151936)])
def test_a_thread_gets_its_memory_back(size: int, logits: int) -> None:
    script = SCRIPT.format(size=size, logits=logits)
    first, *later = map(int, subprocess.check_output([sys.executable, "-c", script], text=True).split())
    assert first > size // 4096 // 2  # fresh from the system
    assert max(later) < first // 20
