"""Assigns each operation of a compiled program to a part of the model, its kind, by names in the HLO."""

from __future__ import annotations

import re

KINDS = ("qkv", "attention", "attention out", "mlp", "norms", "head", "sampling", "copies", "rest of the decoder")
_RULES = (  # the first that fits the scope decides
    ("qkv", r"/attention/(td,\w+->tkgh|\w+/qkv$)"),
    ("attention out", r"/attention/(\w+,\w+->td|\w+/out$)"),
    ("attention", r"/attention/"),
    ("mlp", r"/mlp/"),
    ("norms", r"norm/"),
    ("head", r"Decoder\.logits"),
    ("rest of the decoder", r"/Decoder/"),
)
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) [^\n]*\{\n(.*?)^\}", re.M | re.S)
_INSTRUCTION = re.compile(r"^\s*(ROOT )?%?(\S+) = (.*)$", re.M)
_SCOPE = re.compile(r'op_name="((?:jit\(|params\[)[^"]*)"')  # other names have lost their scope
_WEIGHT = re.compile(
    r"custom-call\(.*%params__\w*____(qkv|out)_"
)  # matrix products in C++ have no equation in their scope
_CALLED = re.compile(r"(?:calls|body|condition|to_apply|branch_computations)=\{?((?:%?[\w.-]+(?:, )?)+)")
_CONTAINER = re.compile(r"[\])}] (while|conditional|call)\(")


class Kinds:
    """A map from the name of each operation in a program to its kind, one of `KINDS`.

    Attributes:
        containers: names of the operations that run others: loops, branches and calls.
    """

    def __init__(self, hlo: str) -> None:
        """Parses the optimised HLO text of a program."""
        self.containers: set[str] = set()
        self._scopes: dict[str, str] = {}
        self._roots: dict[str, str] = {}  # last instruction of each computation
        self._callers: dict[str, str] = {}  # the instruction that runs each computation
        self._places: dict[str, str] = {}  # the computation that each instruction stands in
        self._calls: dict[str, str] = {}
        for computation, body in _COMPUTATION.findall(hlo):
            for root, name, text in _INSTRUCTION.findall(body):
                self._add(computation, name, text, bool(root))

    def __getitem__(self, name: str) -> str:
        """Returns the kind of the operation `name`."""
        return kind_of(name, self._scope(name))

    def _add(self, computation: str, name: str, text: str, root: bool) -> None:
        self._places[name] = computation
        if root:
            self._roots[computation] = name
        if scope := _SCOPE.search(text):
            weight = _WEIGHT.search(text)
            self._scopes[name] = f"{scope[1]}/{weight[1]}" if weight else scope[1]
        for called in _CALLED.findall(text):
            for other in called.replace("%", "").split(", "):
                self._callers[other] = name
                self._calls[name] = other
        if _CONTAINER.search(text):
            self.containers.add(name)

    def _scope(self, name: str) -> str:
        """Returns the scope of an operation.

        A fusion without a scope has the scope of its last inner operation. Any other operation without a scope has the
        scope of the loop or branch around the operation.
        """
        root = self._roots.get(self._calls.get(name, ""), "")
        if scope := self._scopes.get(name) or (name not in self.containers and self._scopes.get(root)):
            return scope
        caller = self._callers.get(self._places.get(name, ""))
        return self._scope(caller) if caller else ""


def kind_of(name: str, scope: str) -> str:
    """Returns the kind of an operation.

    Operations with "copy" in their names, and operations in the scope of a parameter, are copies. Operations outside
    the decoder count as sampling, including the few that unpack the input and store the slots' state.

    Args:
        name: name of the operation.
        scope: the named scopes around it, as in `op_name` of the HLO; "" if unknown.
    """
    if "copy" in name or scope.startswith("params["):
        return "copies"
    return next((kind for kind, rule in _RULES if re.search(rule, scope)), "sampling")
