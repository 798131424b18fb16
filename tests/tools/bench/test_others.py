"""Work of other processes is seen, one's own and one's children's is not."""

from __future__ import annotations

import subprocess
import sys
import time

from tools.bench.others import Others

BURN = """
import time
while time.process_time() < {}:
    pass
print("done", flush=True)
input()
"""


def burn(seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BURN.format(seconds)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_the_share_is_a_part_of_the_machine() -> None:
    others = Others()
    time.sleep(0.05)
    assert 0 <= others.share() <= 1


def test_a_child_is_no_other() -> None:
    watched = Others()
    began = watched.seconds()[2]
    with burn(0.5) as child:
        assert child.stdout and child.stdout.readline() == "done\n"
        ours = watched.seconds()[2] - began
        child.communicate("\n")
    assert ours >= 0.45
