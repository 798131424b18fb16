"""Reads the lists of words and questions that the skills use."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def read(name: str) -> str:
    """Returns the text of the file `name` in this folder."""
    return (FOLDER / name).read_text("utf-8")


def exchanges(name: str) -> list[tuple[list[str], str]]:
    """Parses a text file of blocks. Returns the questions and the answer of each block.

    A block has a line `> ANSWER`, and below it the questions that have this answer, one a line.
    """
    blocks = [block.splitlines() for block in read(name).split("\n\n") if block.startswith(">")]
    return [(questions, answer.removeprefix("> ")) for answer, *questions in blocks]


def word_lists(name: str) -> dict[str, list[str]]:
    """Parses lines of the form `title:`, each followed by indented words. Returns the words by title."""
    lists: dict[str, list[str]] = {}
    title = ""
    for line in read(name).splitlines():
        if line.startswith(" "):
            lists[title] += line.split()
        else:
            title = line.removesuffix(":")
            lists[title] = []
    return lists
