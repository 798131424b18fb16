"""Finds the changes that a chat template may make to the text of messages: cutting, and changing the case of letters.

By such changes, text without a control token may become a control token: `<|IM_END|>` by converting it to lower case,
or `<|im_xend|>` by removing the `x`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jinja2 import nodes

from jaxchat.chat.prompt.environment import parse

_CASES = frozenset({"lower", "upper", "capitalize", "title", "swapcase", "casefold"})
_CUTTERS = frozenset({"replace", "split", "rsplit", "partition", "rpartition", "removeprefix", "removesuffix"})
_STRIPPERS = frozenset({"strip", "lstrip", "rstrip", "trim"})


@dataclass(frozen=True)
class TextChanges:
    """The changes that a chat template may make to the text of messages.

    Attributes:
        cuts: strings that the template may remove from messages, or at which it may split them.
        case: whether the template may change the case of letters.
    """

    cuts: frozenset[str] = frozenset()
    case: bool = False


def text_changes(source: str) -> TextChanges:
    """Returns the changes that a template may make to the text of messages.

    The cuts are the arguments of functions that cut or strip, such as `split`. Every other string in an expression,
    such as `</think>`, is also a cut, with three exceptions: words, white space and single characters. Text that is cut
    at one of these exceptions seldom becomes a control token.
    """
    tree = parse(source)
    operations = list(_operations(tree))
    strings = {node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)}
    cuts = {text for text in strings if len(text.strip()) > 1 and not text.isalnum()}
    cuts |= {text for name, texts in operations if name in _CUTTERS for text in texts if text}
    cuts |= {char for name, texts in operations if name in _STRIPPERS for text in texts for char in text}
    return TextChanges(frozenset(cuts), any(name in _CASES for name, _ in operations))


def _operations(tree: nodes.Template) -> Iterator[tuple[str, list[str]]]:
    """Yields the name of each filter and method that a template applies, and the strings among the arguments."""
    for node in tree.find_all(nodes.Filter):
        yield node.name, _strings(node.args)
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Getattr):
            yield call.node.attr, _strings(call.args)


def _strings(arguments: Iterable[nodes.Expr]) -> list[str]:
    values = (argument.value for argument in arguments if isinstance(argument, nodes.Const))
    return [value for value in values if isinstance(value, str)]
