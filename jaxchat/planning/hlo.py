"""Parses optimised HLO. Finds the bytes that a program moves between devices, and from and to main memory."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_END = re.compile(r"\}(?:$|, )")  # the rest may name a thread; attributes of kernels have lines that begin with }}
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition)=%?([\w.\-]+)")
_ARRAY = re.compile(r"\b(pred|bf16|[fsu]\d+)\[([\d,]*)\](?:\{([^}]*)\})?")
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_OPERAND = re.compile(r"%([\w.\-]+)")
KERNEL = "tpu_custom_call"
COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "reduce-scatter", "collective-permute")
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "conditional", "while", "iota"}
_PARTS = ("slice", "dynamic-slice")  # they read as much of their operand as they return


@dataclass(frozen=True)
class HloArray:
    """One array of an instruction's result.

    `shape` is HLO text such as `f32[2,3]`, and `size` is in bytes. `fast` is true for arrays in a TPU's vector or
    scalar memory, and false for arrays in main memory.
    """

    shape: str
    size: int
    fast: bool


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction of a computation.

    Attributes:
        name: its name.
        operation: its opcode, such as "fusion".
        result: the arrays of its result.
        operands: names of the instructions whose results it reads.
        called: names of the computations that it runs.
        target: target of a custom call; "" for other operations.
        number: number of a parameter; meaningless for other operations.
        cycles: the TPU compiler's estimate of the cycles of a device; 0 if it gives none.
    """

    name: str
    operation: str
    result: tuple[HloArray, ...]
    operands: tuple[str, ...]
    called: tuple[str, ...]
    target: str  # of a custom call
    number: int  # of a parameter
    cycles: int


@dataclass(frozen=True)
class Collective:
    """One collective operation.

    `size` is the bytes of its result on one device. `always` is false inside a branch of a conditional.
    """

    name: str
    kind: str
    size: int
    always: bool


class Program:
    """A compiled program, parsed from its optimised HLO text."""

    def __init__(self, text: str) -> None:
        """Parses optimised HLO text."""
        self.computations: dict[str, list[Instruction]] = {}
        self.entry = ""
        for name, entry, lines in _computations(text):
            self.computations[name] = [op for line in lines if (op := _instruction(line))]
            self.entry = name if entry else self.entry

    def collectives(self) -> list[Collective]:
        """Returns each collective once, even if a loop repeats it."""
        always, collectives = self._reached(), []
        for computation, instructions in self.computations.items():
            for op in instructions:
                kind = op.operation.removesuffix("-start")
                if kind in COLLECTIVES:
                    size = max((array.size for array in op.result), default=0)
                    collectives.append(Collective(op.name, kind, size, computation in always))
        return collectives

    def kernels(self) -> dict[str, int]:
        """Returns the number of custom calls in the entry computation, by target."""
        targets = (op.target for op in self.computations[self.entry] if op.target)
        return dict(Counter(targets))

    def traffic(self, trips: float = 0.0, uncounted: frozenset[str] = frozenset()) -> float:
        """Returns the bytes that instructions read from and write to main memory, without branches of conditionals.

        Args:
            trips: number of iterations of each loop in the entry computation.
            uncounted: shapes of arrays that are not counted, such as `f32[2,3]`.
        """
        repeated = sum(self._moved_in(name, uncounted) for name in self._repeated())
        return self._moved_in(self.entry, uncounted) + trips * repeated

    def cycles(self, trips: float = 0.0) -> float:
        """Returns the TPU compiler's estimate of the cycles of a device, without branches, kernels and copies beside.

        Args:
            trips: number of iterations of each loop in the entry computation.
        """
        repeated = sum(op.cycles for name in self._repeated() for op in self.computations[name])
        return sum(op.cycles for op in self.computations[self.entry]) + trips * repeated

    def _repeated(self) -> list[str]:
        """Returns the names of the computations that loops of the entry computation repeat."""
        return [name for op in self.computations[self.entry] if op.operation == "while" for name in op.called]

    def _moved_in(self, computation: str, uncounted: frozenset[str]) -> int:
        instructions = self.computations[computation]
        results = {op.name: op.result for op in instructions} | dict.fromkeys(_schedules(instructions), ())
        return sum(bytes_moved(self._narrowed(op, results), results, uncounted) for op in instructions)

    def _narrowed(self, op: Instruction, results: dict[str, tuple[HloArray, ...]]) -> Instruction:
        """Returns the instruction. If a fusion reads only slices of an operand, the slices replace the operand.

        Adds such slices to `results`.
        """
        if op.operation != "fusion":
            return op
        operands = list(op.operands)
        for number, name in enumerate(op.operands):
            slices = self._slices(op.called[0], number)
            if slices and not any(array.fast for array in results.get(name, ())):
                operands[number] = f"{op.name} {number}"
                results[operands[number]] = tuple(slices)
        return replace(op, operands=tuple(operands))

    def _slices(self, computation: str, number: int) -> list[HloArray]:
        """Returns the slices of parameter `number` that a fused computation reads.

        Returns an empty list if the computation reads the parameter in another way.
        """
        body, slices = self.computations[computation], list[HloArray]()
        name = next(op.name for op in body if op.operation == "parameter" and op.number == number)
        for op in body:
            if name not in op.operands:
                continue
            if op.operation == "dynamic-slice":
                slices += [replace(array, fast=False) for array in op.result]
            elif op.operation == "fusion" and (inner := self._slices(op.called[0], op.operands.index(name))):
                slices += inner
            else:
                return []
        return slices

    def _reached(self) -> set[str]:
        """Returns the names of the computations that run in every case, outside branches of conditionals."""
        seen, waiting = {self.entry}, [self.entry]
        while waiting:
            new = {name for op in self.computations[waiting.pop()] for name in op.called} - seen
            seen |= new
            waiting += new
        return seen


def bytes_moved(
    op: Instruction, results: dict[str, tuple[HloArray, ...]], uncounted: frozenset[str] = frozenset()
) -> int:
    """Returns the bytes that an instruction moves from and to main memory.

    Args:
        op: the instruction.
        results: the result arrays of other instructions, by name.
        uncounted: shapes of arrays that are not counted, such as `f32[2,3]`.
    """
    bitcast = op.name.startswith("bitcast") and not op.name.startswith("bitcast_convert")  # which computes
    if op.operation in _FREE or op.operation.endswith("-done") or bitcast:
        return 0

    def slow(arrays: tuple[HloArray, ...]) -> list[HloArray]:
        return [array for array in arrays if not array.fast and array.shape not in uncounted]

    operation = op.operation.removesuffix("-start")
    if operation in _PARTS or op.name.startswith(("gather", "dynamic-slice", "slice")):
        *_, part = [array for array in op.result if array.shape not in ("s32[]", "u32[]")] or op.result
        return part.size * (1 if part.fast else 2)
    if operation != op.operation:  # the result of an asynchronous copy contains source and destination
        return sum(array.size for array in slow(op.result))
    operands = [array for name in op.operands for array in slow(results.get(name, ()))]
    written = slow(op.result)
    if op.name.startswith(("scatter", "dynamic-update-slice")):  # in place: only the updates are moved
        shapes = {array.shape for array in op.result}
        operands, written = [array for array in operands if array.shape not in shapes], []
        return 2 * sum(array.size for array in operands)
    return sum(array.size for array in (*operands, *written))


def _schedules(instructions: list[Instruction]) -> Iterator[str]:
    """Yields the names of integer arrays that kernels make for other kernels, such as a list of blocks to compute.

    The other kernels read as much of them as there is to do, and not the whole arrays.
    """
    kernels = {op.name for op in instructions if op.target == KERNEL}
    for op in instructions:
        whole = all(array.shape.startswith("s32[") for array in op.result)
        if op.operation == "get-tuple-element" and whole and kernels & {*op.operands}:
            yield op.name


def _computations(text: str) -> Iterator[tuple[str, bool, list[str]]]:
    name, entry = "", False
    lines: list[str] = []
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            name, entry, lines = match.group(2), bool(match.group(1)), []
        elif _END.match(line) and name:
            yield name, entry, lines
            name = ""
        elif name:
            lines.append(line)


def _instruction(line: str) -> Instruction | None:
    match = _INSTRUCTION.match(line)
    if not match:
        return None
    name, result, operation, rest = match.groups()
    arguments = rest.split(")", 1)[0]
    called = () if operation == "conditional" else tuple(_CALLED.findall(rest))
    target = _TARGET.search(rest)
    return Instruction(
        name=name,
        operation=operation,
        result=tuple(_arrays(result)),
        operands=tuple(_OPERAND.findall(arguments)),
        called=called,
        target=target.group(1) if target else "",
        number=int(arguments) if operation == "parameter" else 0,
        cycles=int(found.group(1)) if (found := _CYCLES.search(rest)) else 0,
    )


def _arrays(shape: str) -> Iterator[HloArray]:
    for kind, dimensions, layout in _ARRAY.findall(shape):
        bits = 8 if kind == "pred" else int(re.sub(r"\D", "", kind))
        size = bits * math.prod(map(int, filter(None, dimensions.split(",")))) // 8  # 4 bits take half a byte
        yield HloArray(f"{kind}[{dimensions}]", size, "S(" in layout)
