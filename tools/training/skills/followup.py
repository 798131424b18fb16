"""Questions whose answer depends on the previous turns."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tools.training.sample import Message, Sample, assistant, trained, user
from tools.training.skills import about, arithmetic, capitals, small_talk, unknown, words

SKILL = "follow-up"
Turns = tuple[Message, ...]

FACTS: tuple[tuple[str, Callable[[Random], str]], ...] = (
    ("favourite colour", lambda rng: rng.choice(words.COLOURS)),
    ("favourite food", lambda rng: rng.choice(words.FOODS)),
    ("favourite animal", lambda rng: rng.choice(words.ANIMALS)),
    ("favourite city", words.city),
    ("home town", words.city),
    ("favourite number", lambda rng: str(rng.randrange(1000))),
    ("dog's name", words.first_name),
    ("best friend", words.first_name),
    ("password", words.made_up),
    ("company", words.company),
    ("age", lambda rng: str(rng.randrange(18, 90))),
    ("phone number", words.phone),
)
ASKED = (
    "What did I just ask?",
    "What did I ask before?",
    "What was my last question?",
    "Repeat my question.",
    "What was my question?",
    "What did I ask you?",
    "What did I ask?",
    "Do you remember my question?",
)
DOUBLE = ("Double it.", "double it", "And doubled?", "Now double it.", "Double that.")
STEP = {
    "+": (
        "And plus {}?",
        "Plus {}?",
        "Add {}.",
        "Now add {}.",
        "and plus {}",
        "Add {} to it.",
        "Add {} to that.",
    ),
    "-": ("And minus {}?", "Minus {}?", "Subtract {}.", "Now subtract {}.", "and minus {}", "Take away {}."),
}
NAME = (
    "What is my name?",
    "Do you know my name?",
    "Who am I?",
    "What's my name?",
    "Do you remember my name?",
    "Tell me my name.",
    "Can you say my name?",
    "What am I called?",
)


def make(rng: Random) -> Sample:
    """Returns a question about earlier turns, or about something never said.

    The key holds what the answer depends on.
    """
    return rng.choice((_capital, _capital, _sum, _sum, _fact, _fact, _name, _name, _asked, _not_told))(rng)


def _sample(key: str, *turns: Message) -> Sample:
    return Sample(skill=SKILL, key=key, messages=turns)


def _filler(rng: Random, most: int = 2) -> Turns:
    """Returns up to `most` unrelated exchanges, none of them held out."""
    skills = (small_talk, arithmetic, capitals, about)
    turns: Turns = ()
    for _ in range(rng.randrange(most + 1)):
        turns += tuple(m for m in trained(rng.choice(skills).make, rng).messages if m["role"] != "system")
    return turns


def _capital(rng: Random) -> Sample:
    first, second = rng.sample(list(capitals.CAPITALS), 2)
    text = rng.choice(
        (
            "And of {}?",
            "What about {}?",
            "And {}?",
            "And the capital of {}?",
            "and of {}",
            "How about {}?",
            "And for {}?",
            "and {}?",
            "Now {}.",
            "And what about {}?",
        )
    )
    text = words.casual(rng, text).format(second)
    return _sample(
        f"{first}:{second}",
        user(capitals.forward(rng, first)),
        assistant(capitals.fact(first)),
        user(text),
        assistant(capitals.fact(second)),
    )


def _sum(rng: Random) -> Sample:
    """Returns a question that adds to the result of an earlier sum, or subtracts from it.

    Both sums may be trained on: neither is held out as a sample of `arithmetic`.
    """
    while True:
        a, sign, b = arithmetic.operands(rng)
        total = a + b if sign == "+" else a - b
        double = rng.random() < 0.2
        then, c = ("+", total) if double else (rng.choice("+-"), rng.randrange(1, 21))
        if (
            total >= 0
            and not arithmetic.sample(rng, a, sign, b).held_out
            and not arithmetic.sample(rng, total, then, c).held_out
        ):
            break
    text = words.casual(rng, rng.choice(DOUBLE) if double else rng.choice(STEP[then])).format(c)
    return _sample(
        f"{a}{sign}{b}{then}{c}",
        user(arithmetic.question(rng, a, sign, b)),
        assistant(arithmetic.equation(a, sign, b)),
        user(text),
        assistant(arithmetic.equation(total, then, c)),
    )


def _fact(rng: Random) -> Sample:
    name, value_of = rng.choice(FACTS)
    value = value_of(rng)
    told = rng.choice(("My {} is {}.", "my {} is {}", "Remember that my {} is {}.", "Just so you know, my {} is {}."))
    asked = rng.choice(
        ("What is my {}?", "what is my {}?", "Do you remember my {}?", "Tell me my {}.", "What's my {}?")
    )
    return _sample(
        f"{name}:{value}",
        user(words.casual(rng, told).format(name, value)),
        assistant(f"I will remember that your {name} is {value}."),
        *_filler(rng),
        user(words.casual(rng, asked).format(name)),
        assistant(f"Your {name} is {value}."),
    )


def _name(rng: Random) -> Sample:
    said, reply, name = small_talk.told_name(rng)
    return _sample(
        f"name:{name}",
        user(said),
        assistant(reply),
        *_filler(rng),
        user(words.casual(rng, rng.choice(NAME))),
        assistant(f"Your name is {name}."),
    )


def _asked(rng: Random) -> Sample:
    before = trained(rng.choice((arithmetic, capitals, about, unknown)).make, rng)
    turns = tuple(m for m in before.messages if m["role"] != "system")
    answer = f'You asked: "{turns[0]["content"]}"'
    return _sample(
        f"asked:{turns[0]['content']}",
        *_filler(rng, 1),
        *turns,
        user(words.casual(rng, rng.choice(ASKED))),
        assistant(answer),
    )


def _not_told(rng: Random) -> Sample:
    filler = _filler(rng)
    key = "".join(m["content"] for m in filler)
    if rng.random() < 0.5:
        return _sample(
            f"untold:{key}",
            *filler,
            user(words.casual(rng, rng.choice(NAME))),
            assistant("You have not told me your name."),
        )
    name, _ = rng.choice(FACTS)
    return _sample(
        f"untold:{name}:{key}",
        *filler,
        user(words.casual(rng, f"What is my {name}?")),
        assistant(f"You have not told me your {name}."),
    )
