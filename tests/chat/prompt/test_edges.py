"""Parts of control tokens at the edges of a message, and of the pieces that a template cuts from it."""

from __future__ import annotations

from itertools import pairwise, product

import pytest

from jaxchat.chat.prompt.edges import Edges

SPELLINGS = ["<|end|>", "[X]"]


def altered(text: str, *cuts: str) -> str:
    """The text with a star at each edge."""
    places = Edges(SPELLINGS, cuts, None).of(text)
    return "".join("*" if place in places else char for place, char in enumerate(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", "hello"),
        ("end|>", "*nd|>"),
        (" \n|> x", " \n*> x"),
        ("say <|e ", "say <|* "),
        ("<|end|>", "<|end|>"),  # a whole spelling is found elsewhere
        (">", "*"),
        ("", ""),
        (" ", " "),
    ],
)
def test_the_outermost_visible_character_of_a_part_is_an_edge(text: str, expected: str) -> None:
    assert altered(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<|<t>end|>", "<*<t>*nd|>"),
        ("<| <t> <t> end|>", "<* <t> <t> *nd|>"),
        ("a<t>b", "a<t>b"),
        ("<|\n<t>end|>", "<*\n<t>*nd|>"),  # another cut ends inside this one
    ],
)
def test_pieces_between_cuts_have_edges(text: str, expected: str) -> None:
    assert altered(text, "<t>", "\n<") == expected


@pytest.mark.parametrize("cuts", [("<t>",), ("<t>", "<u>", "\n<t")])
def test_whatever_is_cut_the_rest_cannot_spell_a_control_token(cuts: tuple[str, ...]) -> None:
    pieces = ["<|", "end|>", "<|en", "d|>", " ", "<t>", "\n<u>"]
    for text in map("".join, product(pieces, repeat=4)):
        for cut in cuts:
            left = altered(text, *cuts)
            parts = [part.strip() for part in left.split(cut)] if cut in text else []
            joins = [first + second for first, second in pairwise(parts)]
            assert not any("<|end|>" in join and "<|end|>" not in text for join in joins)


def test_a_normaliser_is_applied_first() -> None:
    edges = Edges(["<|end|>"], ["<T>"], str.lower)
    assert edges.of("<|E<T>ND|>") == [2, 6]
