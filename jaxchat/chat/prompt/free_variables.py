"""Finds the variables whose values a chat template takes from its caller.

`jinja2.meta.find_undeclared_variables` also reports names that the template always sets before it reads them, such as
`content` in most templates. A value from the caller has no effect on such a name.
"""

from __future__ import annotations

from collections.abc import Iterable

from jinja2 import nodes

_IN_LOOPS, _IN_MACROS = {"loop"}, {"caller", "kwargs", "varargs"}


def free_variables(tree: nodes.Template) -> set[str]:
    """Returns the names of variables and functions that a parsed template may read before it has set them."""
    reader = _Reader()
    assigned = reader.block(tree.body, set())
    reader.macros(assigned)
    return reader.free


class _Reader:
    """A reader of all paths through a template. `assigned` has the names that are set on every path to a node."""

    def __init__(self) -> None:
        self.free: set[str] = set()
        self._macros: list[tuple[list[nodes.Node], set[str]]] = []

    def block(self, body: Iterable[nodes.Node], assigned: set[str]) -> set[str]:
        """Reads the nodes of `body` in order. Returns the names that are set after them."""
        for node in body:
            assigned = self._node(node, assigned)
        return assigned

    def macros(self, assigned: set[str]) -> None:
        """Reads the bodies of macros, which run after the template has set the names in `assigned`."""
        while self._macros:
            body, names = self._macros.pop()
            self.block(body, assigned | names)

    def _node(self, node: nodes.Node, assigned: set[str]) -> set[str]:
        match node:
            case nodes.Name(name=name, ctx="load"):
                self.free |= {name} - assigned
            case nodes.Name(name=name):
                return assigned | {name}
            case nodes.If():
                return self._branches(node, assigned)
            case nodes.For():
                self._node(node.iter, assigned)
                inside = self._node(node.target, assigned) | _IN_LOOPS
                self.block([*filter(None, [node.test]), *node.body], inside)
                self.block(node.else_, assigned)
            case nodes.Assign():
                return self.block([node.node, node.target], assigned)
            case nodes.AssignBlock():
                self.block([*filter(None, [node.filter]), *node.body], assigned)
                return self._node(node.target, assigned)
            case nodes.With():
                self.block(node.values, assigned)
                self.block([*node.targets, *node.body], assigned)
            case nodes.Macro() | nodes.CallBlock():
                return self._macro(node, assigned)
            case nodes.FilterBlock() | nodes.Scope():
                self.block(node.iter_child_nodes(), assigned)
            case _:
                return self.block(node.iter_child_nodes(), assigned)
        return assigned

    def _branches(self, node: nodes.If, assigned: set[str]) -> set[str]:
        """Reads all branches. Returns the names that are set on every branch that does not refuse the conversation."""
        ends = []
        for branch in (node, *node.elif_):
            self._node(branch.test, assigned)
            ends.append((branch.body, self.block(branch.body, assigned)))
        ends.append((node.else_, self.block(node.else_, assigned)))
        reached = [names for body, names in ends if not any(map(_refuses, body))]
        return set.intersection(*reached) if reached else assigned

    def _macro(self, node: nodes.Macro | nodes.CallBlock, assigned: set[str]) -> set[str]:
        self.block([*node.defaults, *([node.call] if isinstance(node, nodes.CallBlock) else [])], assigned)
        names = assigned | {argument.name for argument in node.args} | _IN_MACROS
        self._macros.append((node.body, names))
        return assigned | {node.name} if isinstance(node, nodes.Macro) else assigned


def _refuses(node: nodes.Node) -> bool:
    """Returns whether a node calls `raise_exception` unconditionally, so that its branch refuses the conversation."""
    calls = node.nodes if isinstance(node, nodes.Output) else ()
    names = (call.node for call in calls if isinstance(call, nodes.Call))
    return any(isinstance(name, nodes.Name) and name.name == "raise_exception" for name in names)
