"""Computes how long a program's all-reduces overlap with its copies of weights.

A TPU program copies weights from main memory into vector memory asynchronously. An all-reduce needs no main memory. A
copy therefore continues during an all-reduce if it starts before the all-reduce and is awaited after it.
"""

from __future__ import annotations

from collections import deque

from jaxchat.planning.cost_model import all_reduce_seconds
from jaxchat.planning.hardware import Topology
from jaxchat.planning.hlo import Program, bytes_moved


def hidden_seconds(program: Program, topology: Topology, devices: int) -> float:
    """Returns for how many seconds copies overlap with all-reduces in the entry computation, on `devices` devices.

    The estimate is deliberately low. It assumes that copies run one after the other, in the order in which they start,
    and only during an all-reduce. When a copy is awaited, all copies that started before it count as finished.
    """
    copies: deque[tuple[str, float]] = deque()  # pending copies: name, remaining bytes
    saved, bandwidth = 0.0, topology.chip.bandwidth
    for op in program.computations[program.entry]:
        if op.operation in ("copy-start", "slice-start"):
            copies.append((op.name, float(bytes_moved(op, {}))))
        elif op.operation in ("copy-done", "slice-done"):
            while copies and any(name == op.operands[0] for name, _ in copies):
                copies.popleft()
        elif op.operation == "all-reduce":
            room = bandwidth * all_reduce_seconds(max(array.size for array in op.result), topology, devices)
            while copies and room > 0:
                name, size = copies.popleft()
                done = min(size, room)
                room, saved = room - done, saved + done / bandwidth
                if size > done:
                    copies.appendleft((name, size - done))
    return saved
