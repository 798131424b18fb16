"""What a compiled program moves, read from its optimised HLO text: between devices, and from and to main memory."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition)=%?([\w.\-]+)")
_ARRAY = re.compile(r"\b(pred|bf16|[fsu]\d+)\[([\d,]*)\](?:\{([^}]*)\})?")
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_OPERAND = re.compile(r"%([\w.\-]+)")
COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "reduce-scatter", "collective-permute")
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "conditional", "while", "iota"}
_PARTS = ("slice", "dynamic-slice")  # read as much of their operand as they return


@dataclass(frozen=True)
class HloArray:
    """One array of a printed shape; `fast` if it lies in a TPU's vector or scalar memory, not in main memory."""

    shape: str
    size: int
    fast: bool


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One line of a computation, with the arrays of its result and the names of its operands."""

    name: str
    operation: str
    result: tuple[HloArray, ...]
    operands: tuple[str, ...]
    called: tuple[str, ...]
    target: str  # of a custom call
    number: int  # of a parameter


@dataclass(frozen=True)
class Collective:
    """One exchange. `size` is the bytes of its result on a device; `always` is false inside a conditional's branch."""

    name: str
    kind: str
    size: int
    always: bool


class Program:
    """A parsed program."""

    def __init__(self, text: str) -> None:
        self.computations: dict[str, list[Instruction]] = {}
        self.entry = ""
        for name, entry, lines in _computations(text):
            self.computations[name] = [found for line in lines if (found := _instruction(line))]
            self.entry = name if entry else self.entry

    def collectives(self) -> list[Collective]:
        """Each once, however often a loop repeats it."""
        always, found = self._reached(), []
        for computation, instructions in self.computations.items():
            for instruction in instructions:
                kind = instruction.operation.removesuffix("-start")
                if kind in COLLECTIVES:
                    size = max((array.size for array in instruction.result), default=0)
                    found.append(Collective(instruction.name, kind, size, computation in always))
        return found

    def kernels(self) -> dict[str, int]:
        """How often the entry calls each kernel that is not made by the compiler, by target."""
        targets = (instruction.target for instruction in self.computations[self.entry] if instruction.target)
        return dict(Counter(targets))

    def traffic(self, trips: float = 0.0, uncounted: frozenset[str] = frozenset()) -> float:
        """Bytes that instructions read from main memory and write to it.

        Conditional branches are left out. So are arrays of the shapes `uncounted`, printed as `f32[2,3]`. Each loop of
        the entry runs `trips` times.
        """
        loops = [
            instruction.called for instruction in self.computations[self.entry] if instruction.operation == "while"
        ]
        repeated = sum(self._moved_in(name, uncounted) for called in loops for name in called)
        return self._moved_in(self.entry, uncounted) + trips * repeated

    def _moved_in(self, computation: str, uncounted: frozenset[str]) -> int:
        instructions = self.computations[computation]
        results = {instruction.name: instruction.result for instruction in instructions}
        return sum(
            bytes_moved(self._narrowed(instruction, results), results, uncounted) for instruction in instructions
        )

    def _narrowed(self, instruction: Instruction, results: dict[str, tuple[HloArray, ...]]) -> Instruction:
        """A fusion whose operands are, where it reads a slice of one alone, that slice; `results` learns of those."""
        if instruction.operation != "fusion":
            return instruction
        operands = list(instruction.operands)
        for number, name in enumerate(instruction.operands):
            slices = self._slices(instruction.called[0], number)
            if slices and not any(array.fast for array in results.get(name, ())):
                operands[number] = f"{instruction.name} {number}"
                results[operands[number]] = tuple(slices)
        return replace(instruction, operands=tuple(operands))

    def _slices(self, computation: str, number: int) -> list[HloArray]:
        """What a fused computation reads of its parameter of that number, empty if not only by dynamic slices."""
        body, found = self.computations[computation], list[HloArray]()
        name = next(
            instruction.name
            for instruction in body
            if instruction.operation == "parameter" and instruction.number == number
        )
        for instruction in body:
            if name not in instruction.operands:
                continue
            if instruction.operation == "dynamic-slice":
                found += [replace(array, fast=False) for array in instruction.result]
            elif instruction.operation == "fusion" and (
                inner := self._slices(instruction.called[0], instruction.operands.index(name))
            ):
                found += inner
            else:
                return []
        return found

    def _reached(self) -> set[str]:
        """The computations that run whatever the conditionals decide."""
        seen, waiting = {self.entry}, [self.entry]
        while waiting:
            new = {name for instruction in self.computations[waiting.pop()] for name in instruction.called} - seen
            seen |= new
            waiting += new
        return seen


def bytes_moved(
    instruction: Instruction, results: dict[str, tuple[HloArray, ...]], uncounted: frozenset[str] = frozenset()
) -> int:
    """Bytes from and to main memory, given the `results` of other instructions by name."""
    if (
        instruction.operation in _FREE
        or instruction.operation.endswith("-done")
        or instruction.name.startswith("bitcast")
    ):
        return 0

    def slow(arrays: tuple[HloArray, ...]) -> list[HloArray]:
        return [array for array in arrays if not array.fast and array.shape not in uncounted]

    operation = instruction.operation.removesuffix("-start")
    if operation in _PARTS or instruction.name.startswith(("gather", "dynamic-slice", "slice")):
        *_, part = [
            array for array in instruction.result if array.shape not in ("s32[]", "u32[]")
        ] or instruction.result
        return part.size * (1 if part.fast else 2)
    if operation != instruction.operation:  # the result of an asynchronous copy names both ends
        return sum(array.size for array in slow(instruction.result))
    operands = [array for name in instruction.operands for array in slow(results.get(name, ()))]
    written = slow(instruction.result)
    if instruction.name.startswith(("scatter", "dynamic-update-slice")):  # in place: only the updates move
        shapes = {array.shape for array in instruction.result}
        operands, written = [array for array in operands if array.shape not in shapes], []
        return 2 * sum(array.size for array in operands)
    return sum(array.size for array in (*operands, *written))


def _computations(text: str) -> Iterator[tuple[str, bool, list[str]]]:
    name, entry = "", False
    lines: list[str] = []
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            name, entry, lines = match.group(2), bool(match.group(1)), []
        elif line.startswith("}") and name:  # another thread may be named after it
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
    )


def _arrays(shape: str) -> Iterator[HloArray]:
    for kind, dimensions, layout in _ARRAY.findall(shape):
        bits = 8 if kind == "pred" else int(re.sub(r"\D", "", kind))
        size = bits // 8 * math.prod(map(int, filter(None, dimensions.split(","))))
        yield HloArray(f"{kind}[{dimensions}]", size, "S(" in layout)
