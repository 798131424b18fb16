"""The vocabulary of the skills' sentences, and generators of invented words."""

from __future__ import annotations

from random import Random

from tools.training.skills.texts import word_lists

_LISTS = word_lists("words.txt")
FIRST, LAST, CITIES = _LISTS["first"], _LISTS["last"], _LISTS["cities"]
COLOURS, FOODS, ANIMALS, PRODUCTS = (_LISTS[name] for name in ("colours", "foods", "animals", "products"))
COMPANY_KINDS, LANGUAGES, DOMAINS = _LISTS["company_kinds"], _LISTS["languages"], _LISTS["domains"]

_CONSONANTS, _VOWELS = _LISTS["consonants"], _LISTS["vowels"]
_ENDINGS = ["", "", "", "n", "r", "s", "l", "k", "m", "t", "x"]


def made_up(rng: Random) -> str:
    """Returns an invented lower-case word of two or three syllables. The model can only copy it, not remember it."""
    count = rng.choice((2, 2, 3))
    return "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(count)) + rng.choice(_ENDINGS)


def first_name(rng: Random) -> str:
    """Returns a given name. Half of the names are invented."""
    return rng.choice(FIRST) if rng.random() < 0.5 else made_up(rng).capitalize()


def full_name(rng: Random) -> str:
    """Returns a given name and a family name."""
    last = rng.choice(LAST) if rng.random() < 0.5 else made_up(rng).capitalize()
    return f"{first_name(rng)} {last}"


def city(rng: Random) -> str:
    """Returns the name of a city. Two in five are invented."""
    return rng.choice(CITIES) if rng.random() < 0.6 else made_up(rng).capitalize()


def company(rng: Random) -> str:
    """Returns the name of a company, such as `Brelto Labs`."""
    return f"{made_up(rng).capitalize()} {rng.choice(COMPANY_KINDS)}"


def email(rng: Random, name: str | None = None) -> str:
    """Returns an email address, derived from `name` unless that is None."""
    local = name.lower().replace(" ", ".") if name else rng.choice((made_up(rng), rng.choice(FIRST).lower()))
    return f"{local}@{rng.choice(DOMAINS)}"


def phone(rng: Random) -> str:
    """Returns a telephone number such as `555-2047`."""
    return f"555-{rng.randrange(10000):04d}"


def date(rng: Random) -> str:
    """Returns a date such as `2025-03-14`."""
    return f"{rng.randrange(2020, 2031)}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"


def clock(rng: Random) -> str:
    """Returns a time of day such as `14:30`."""
    return f"{rng.randrange(24):02d}:{rng.choice((0, 5, 10, 15, 20, 30, 40, 45, 50)):02d}"


def price(rng: Random) -> float | int:
    """Returns a price: an integer, or a number with two decimals.

    The second decimal is never 0, so that the JSON text of the number keeps both.
    """
    whole = rng.randrange(1, 1000)
    return whole if rng.random() < 0.5 else float(f"{whole}.{rng.randrange(10)}{rng.randrange(1, 10)}")


def listed(words: list[str]) -> str:
    """Joins words to `a`, `a and b` or `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


_SHORT = {
    "what is": "whats",
    "who are you": "who r u",
    "do you": "do u",
    "i am": "im",
    "please": "pls",
    "what are": "whatre",
    "thank you": "ty",
    "thanks": "thx",
    "can you": "can u",
    "cannot": "cant",
    "does not": "doesnt",
    "okay": "ok",
    "you are": "youre",
    "good morning": "gm",
    "how do i": "how to",
}


def casual(rng: Random, text: str, often: float = 0.3, slips: float = 0.25) -> str:
    """Returns a request as it is often typed: in lower case, without a mark at its end, sometimes with a slip.

    Fields such as `{name}` stay as they are.

    Args:
        rng: source of the changes.
        text: the request, or a template of it.
        often: probability of a change.
        slips: probability of a slip in a changed request.
    """
    if rng.random() >= often:
        return text
    if rng.random() < slips:
        text = _slip(rng, text)
    if rng.random() < 0.9:
        text = text.lower()
    if rng.random() < 0.8:
        text = text.rstrip("?.!")
    fitting = [long for long in _SHORT if long in text]
    if fitting and rng.random() < 0.3:
        long = rng.choice(fitting)
        text = text.replace(long, _SHORT[long])
    return text


def _slip(rng: Random, text: str) -> str:
    """Returns `text` with one letter of a lower-case word swapped, dropped or doubled."""
    parts = text.split(" ")
    fitting = [
        i for i, part in enumerate(parts) if len(part) > 3 and part.isascii() and part.isalpha() and part.islower()
    ]
    if not fitting:
        return text
    index = rng.choice(fitting)
    word, place = parts[index], rng.randrange(1, len(parts[index]) - 1)
    head, tail = word[:place], word[place:]
    parts[index] = rng.choice((head + tail[1] + tail[0] + tail[2:], head + tail[1:], head + tail[0] + tail))
    return " ".join(parts)


def vary(rng: Random, text: str) -> str:
    """Returns `text` with slight random changes: case of its first letter, final mark, a greeting, careless typing."""
    if (typed := casual(rng, text)) != text:
        return typed
    if rng.random() < 0.25 and not text.startswith(("I ", "I'")):
        text = text[0].lower() + text[1:]
    if rng.random() < 0.2:
        text = text.rstrip("?.!")
    draw = rng.random()
    if draw < 0.05:
        return f"Please, {text[0].lower()}{text[1:]}" if not text.startswith("I") else text
    if draw < 0.12:
        return f"{rng.choice(('Hi!', 'Hello,', 'Hey,', 'Ok,', 'So,'))} {text}"
    return text
