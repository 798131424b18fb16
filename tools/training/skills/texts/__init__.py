"""Reads the word lists and question lists that the skills draw from."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def read(name: str) -> str:
    """Returns one file of this folder."""
    return (FOLDER / name).read_text("utf-8")


def exchanges(name: str) -> list[tuple[list[str], str]]:
    """Blocks of an answer (`> ...`) and the questions below it, as (questions, answer)."""
    blocks = [block.splitlines() for block in read(name).split("\n\n") if block.startswith(">")]
    return [(questions, answer.removeprefix("> ")) for answer, *questions in blocks]


def word_lists(name: str) -> dict[str, list[str]]:
    """Parses `title:` lines, each followed by indented words."""
    lists: dict[str, list[str]] = {}
    title = ""
    for line in read(name).splitlines():
        if line.startswith(" "):
            lists[title] += line.split()
        else:
            title = line.removesuffix(":")
            lists[title] = []
    return lists
