"""How much of a program's sums over devices its copies of weights hide.

A TPU program brings weights from main memory into vector memory by asynchronous copies. One that begins before a sum
and is waited for after it goes on while the links are busy, which needs nothing of main memory.
"""

from __future__ import annotations

from collections import deque

from jaxchat.planning.cost_model import all_reduce_seconds
from jaxchat.planning.hardware import Topology
from jaxchat.planning.hlo import Program, bytes_moved


def hidden(program: Program, topology: Topology, devices: int) -> float:
    """Seconds of the entry's all-reduces during which copies that it has begun can go on; at most their time.

    Deliberately little: copies run one after the other, in the order they begin, and only while a sum is under way;
    all that was begun before a copy that is waited for is over.
    """
    copies: deque[tuple[str, float]] = deque()  # begun and not waited for: name, bytes to go
    saved, bandwidth = 0.0, topology.chip.bandwidth
    for instruction in program.computations[program.entry]:
        if instruction.operation in ("copy-start", "slice-start"):
            copies.append((instruction.name, float(bytes_moved(instruction, {}))))
        elif instruction.operation in ("copy-done", "slice-done"):
            while copies and any(name == instruction.operands[0] for name, _ in copies):
                copies.popleft()
        elif instruction.operation == "all-reduce":
            room = bandwidth * all_reduce_seconds(max(array.size for array in instruction.result), topology, devices)
            while copies and room > 0:
                name, size = copies.popleft()
                done = min(size, room)
                room, saved = room - done, saved + done / bandwidth
                if size > done:
                    copies.appendleft((name, size - done))
    return saved
