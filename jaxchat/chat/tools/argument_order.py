"""Writes Lark rules for the order of a call's arguments, for formats that write arguments one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence, Set
from itertools import combinations

from jaxchat.chat.grammar.json_schema.objects import MAX_REORDERED


def argument_orders(
    rule: str,
    names: Sequence[str],
    required: Set[str],
    *,
    comma: str = "",
    any_order: bool = True,
    linked: bool = False,
) -> Iterator[str]:
    """Yields `rule` for a sequence of arguments, and the rules that it needs.

    The caller must add a rule for each argument: `{rule}_a0`, `{rule}_a1` and so on.

    Args:
        rule: name of the rule.
        names: names of the arguments.
        required: names of the arguments that must be written.
        comma: text between two arguments.
        any_order: whether up to 4 arguments may be written in any order. More arguments always have the order of
            `names`.
        linked: whether each argument has two rules: `{rule}_a0_next` if another argument follows it, and
            `{rule}_a0_last` if it is the last argument. With linked rules, the sequence has at least one argument.
    """
    if not names:
        yield f'{rule}: ""'
        return
    everything = tuple(range(len(names)))
    needed = {i for i, name in enumerate(names) if name in required}
    reordered = any_order and len(names) <= MAX_REORDERED
    sizes = range(len(names), 0, -1)
    rests = [rest for size in sizes for rest in combinations(everything, size)] if reordered else None
    kinds = {"f": "", "m": json.dumps(comma)} if comma else {"f": ""}  # the first argument, and one after a comma
    yield f"{rule}: {_state(rule, 'f', everything)}"
    for rest in rests or [everything[i:] for i in everything]:
        for kind, mark in kinds.items():
            yield f"{_state(rule, kind, rest)}: " + _order(rule, mark, [*kinds][-1], rest, needed, reordered, linked)


def _state(rule: str, kind: str, rest: tuple[int, ...]) -> str:
    return f"{rule}_{kind}{'_'.join(map(str, rest))}" if rest else ""


def _order(
    rule: str, mark: str, kind: str, rest: tuple[int, ...], needed: Set[int], reordered: bool, linked: bool
) -> str:
    """Returns an expression for the remaining arguments of a call.

    Args:
        rule: as in `argument_orders`.
        mark: the comma before the next argument, as a Lark literal; "" if there is none.
        kind: the letter in the names of the rules for the arguments after the next one.
        rest: indices of the arguments that have not been written yet.
        needed: indices of the arguments that must be written.
        reordered: whether the arguments may be written in any order.
        linked: as in `argument_orders`.
    """
    options = []
    for position, i in enumerate(rest):
        others = tuple(j for j in rest if j != i) if reordered else rest[position + 1 :]
        if linked:
            options += [f"{rule}_a{i}_next {_state(rule, kind, others)}"] * bool(others)
            options += [f"{rule}_a{i}_last"] * (not needed & set(others))
        else:
            options.append(f"{mark} {rule}_a{i} {_state(rule, kind, others)}".strip())
        if not reordered and i in needed:
            break
    return f"({' | '.join(options)}){'' if linked or needed & set(rest) else '?'}"
