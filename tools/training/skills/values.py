"""Generators of string arguments and results of tools, under the names that `texts/tools.toml` uses."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tools.training.skills import words

_CHORES = ("buy", "clean", "sell", "repair", "paint", "find", "wash", "call")
_SONGS = ("Song", "Blues", "Waltz", "Nights", "Road", "Love", "Dance")
_CURRENCIES = ("USD", "EUR", "GBP", "JPY", "CHF", "NOK", "SEK", "INR")
_ROOMS = ("kitchen", "bedroom", "bathroom", "living room", "office", "garage", "hall")
_UNITS = ("km", "miles", "kg", "pounds", "metres", "feet", "litres", "gallons")


def _task(rng: Random) -> str:
    verb, noun = rng.choice(_CHORES), rng.choice(words.PRODUCTS)
    return f"{verb} the {noun}" if rng.random() < 0.7 else f"{verb} {words.made_up(rng)}"


def _topic(rng: Random) -> str:
    food, product = rng.choice(words.FOODS), rng.choice(words.PRODUCTS)
    coloured = f"{rng.choice(words.COLOURS)} {rng.choice(words.PRODUCTS)}"
    return rng.choice((food, product, words.made_up(rng), coloured))


def _ticker(rng: Random) -> str:
    short = words.made_up(rng)[: rng.choice((3, 4))].upper()
    return rng.choice(("AAPL", "MSFT", "GOOG", "NVDA", "TSLA", short, short))


def _product_of_numbers(rng: Random) -> str:
    return f"{rng.randrange(2, 1000)} {rng.choice('*/')} {rng.randrange(2, 1000)}"


STRINGS: dict[str, Callable[[Random], str]] = {
    "city": words.city,
    "clock": words.clock,
    "company": words.company,
    "currency": lambda rng: rng.choice(_CURRENCIES),
    "date": words.date,
    "email": words.email,
    "first name": words.first_name,
    "food": lambda rng: rng.choice(words.FOODS),
    "full name": words.full_name,
    "headline": lambda rng: f"{words.full_name(rng)} likes {rng.choice(words.FOODS)}",
    "language": lambda rng: rng.choice(words.LANGUAGES),
    "package": lambda rng: f"{words.made_up(rng)[:2].upper()}{rng.randrange(1000, 100000)}",
    "product": lambda rng: rng.choice(words.PRODUCTS),
    "product of numbers": _product_of_numbers,
    "room": lambda rng: rng.choice(_ROOMS),
    "song": lambda rng: f"{words.made_up(rng).capitalize()} {rng.choice(_SONGS)}",
    "task": _task,
    "ticker": _ticker,
    "topic": _topic,
    "two words": lambda rng: f"{words.made_up(rng)} {words.made_up(rng)}",
    "unit": lambda rng: rng.choice(_UNITS),
}
