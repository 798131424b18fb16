"""Lists with an end: things of a kind, numbers in order, the days of the week."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tools.training.sample import Sample, assistant, user
from tools.training.skills import words
from tools.training.skills.grammar import read_grammar

SKILL = "lists"


def _by_title(name: str) -> dict[str, tuple[str, ...]]:
    lists = read_grammar(name)
    return {title.replace("_", " "): items for titles, items in lists.items() for title in titles.split()}


ITEMS, SERIES = _by_title("lists.txt"), _by_title("series.txt")
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_ASKS = (
    "List {count} {title}.",
    "Name {count} {title}.",
    "Give me {count} {title}.",
    "Give me a list of {count} {title}.",
    "Tell me {count} {title}.",
    "Can you list {count} {title}?",
    "Can you name {count} {title}?",
    "Write a list of {count} {title}.",
    "I need {count} {title}.",
    "{count} {title}, please.",
    "Write down {count} {title}.",
)
_WHOLE = (
    "List the {title}.",
    "Name the {title}.",
    "Name all {title}.",
    "What are the {title}?",
    "List all {title}.",
    "Tell me the {title}.",
    "Give me the {title}.",
    "Which {title} are there?",
)
_COUNT = (
    "Count to {high}.",
    "Count up to {high}.",
    "Count from 1 to {high}.",
    "Can you count to {high}?",
    "Please count to {high}.",
    "List the numbers from 1 to {high}.",
    "List the numbers up to {high}.",
    "Write the numbers from 1 to {high}.",
)
_FROM = (
    "Count from {low} to {high}.",
    "List the numbers from {low} to {high}.",
    "Numbers from {low} to {high}.",
    "Write the numbers from {low} to {high}.",
)
_DOWN = ("Count down from {high}.", "Count backwards from {high}.", "Count down from {high} to 1.")


def make(rng: Random) -> Sample:
    """Returns a request with its list. The key is the exact wording of the request."""
    draw = rng.random()
    if draw < 0.6:
        return _things(rng)
    if draw < 0.75:
        title = rng.choice(list(SERIES))
        return _sample(rng, rng.choice(_WHOLE).format(title=title), numbered(SERIES[title]))
    return _numbers(rng)


def _things(rng: Random) -> Sample:
    title = rng.choice(list(ITEMS))
    count = rng.choice((2, 3, 3, 4, 5, 5, 6, 7, 8)) if rng.random() < 0.85 else None
    said = "some" if count is None else rng.choice((str(count), NUMBERS[count]))
    asked = rng.choice(_ASKS).format(count=said, title=title)
    if count is None and rng.random() < 0.5:
        asked = asked.replace("some ", "", 1)
    # In the order of the file, so that the last item alone tells which may follow. A small model learns that sooner.
    answer = numbered(sorted(rng.sample(ITEMS[title], count or 5), key=ITEMS[title].index))
    return _sample(rng, asked[0].upper() + asked[1:], answer, title)


def _numbers(rng: Random) -> Sample:
    draw, high = rng.random(), rng.choice((5, 10, 10, 10, 12, 15, 20, 20, 25, 30, rng.randrange(3, 31)))
    shown = NUMBERS[high] if high < len(NUMBERS) and rng.random() < 0.5 else str(high)
    if draw < 0.55:
        return _sample(rng, rng.choice(_COUNT).format(high=shown), counted(1, high))
    if draw < 0.75:
        low = rng.randrange(2, 90)
        high = low + rng.randrange(2, 15)
        return _sample(rng, rng.choice(_FROM).format(low=low, high=high), counted(low, high))
    high = min(high, 20)
    shown = NUMBERS[high] if high < len(NUMBERS) and rng.random() < 0.5 else str(high)
    return _sample(rng, rng.choice(_DOWN).format(high=shown), ", ".join(map(str, range(high, 0, -1))) + ".")


def _sample(rng: Random, asked: str, answer: str, title: str = "") -> Sample:
    text = words.vary(rng, asked)
    check = "list" if title else "text"
    return Sample(skill=SKILL, key=text, messages=(user(text), assistant(answer)), check=check, kind=title)


def numbered(items: Sequence[str]) -> str:
    """Returns a list with a number before each item, one a line."""
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, start=1))


def counted(low: int, high: int) -> str:
    """Returns the numbers from `low` to `high`, such as `1, 2, 3.`"""
    return ", ".join(map(str, range(low, high + 1))) + "."


def accepts(title: str, expected: str, answer: str) -> bool:
    """Returns whether `answer` lists as many different things of the kind `title` as `expected` does."""
    items = [line.partition(". ")[2] for line in answer.splitlines()]
    fitting = len(set(items)) == len(items) and set(items) <= set(ITEMS[title])
    return fitting and answer == numbered(items) and len(items) == len(expected.splitlines())
