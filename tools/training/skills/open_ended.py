"""Requests with many good answers: stories, poems, jokes, names and random choices.

The answers are drawn from a grammar whose alternatives are equally likely. So the right distribution is known, and a
well calibrated model shows it.
"""

from __future__ import annotations

from random import Random

from tools.training.sample import Sample, assistant, user
from tools.training.skills import words
from tools.training.skills.grammar import Grammar, read_grammar

SKILL = "open"
CHOICES = read_grammar("open.txt") | {"name": tuple(words.FIRST), "animal": tuple(words.ANIMALS)}
GRAMMAR = Grammar(CHOICES)

ASKS: dict[str, tuple[str, ...]] = {
    "story": (
        "Tell me a {short}story.",
        "Write a {short}story.",
        "Write a {short}story about {a_animal}.",
        "Tell me a {short}story about {a_animal}.",
        "Tell a story about {a_animal} named {hero}.",
        "Write a {short}story about {hero} the {animal}.",
        "Write a {short}story about {a_animal} called {hero}.",
        "Can you tell me a {short}story about {a_animal}?",
        "Can you write a {short}story?",
        "I want a {short}story about {a_animal}.",
        "Make up a {short}story about {a_animal}.",
        "Once upon a time",
        "A story about {a_animal}, please.",
        "Give me a {short}story with {a_animal}.",
    ),
    "poem": (
        "Write a {short}poem.",
        "Write a {short}poem about {a_animal}.",
        "Write me a {short}poem about {a_animal}.",
        "Tell me a {short}poem about {a_animal}.",
        "Can you write a {short}poem about {a_animal}?",
        "Compose a {short}poem about {a_animal}.",
        "A poem about {a_animal}, please.",
        "Sing a song about {a_animal}.",
        "Write a {short}rhyme about {a_animal}.",
        "Recite a {short}poem.",
    ),
    "joke": (
        "Tell me a joke.",
        "Do you know a joke?",
        "Make me laugh.",
        "Say something funny.",
        "Tell a joke.",
        "I want to hear a joke.",
        "Another joke.",
        "Can you tell me a joke?",
        "Got any jokes?",
        "Tell me something funny.",
        "One more joke, please.",
        "Do you know any good jokes?",
        "Give me a joke.",
        "Cheer me up.",
    ),
    "cat": (
        "What should I call my {pet}?",
        "Suggest a name for my {pet}.",
        "Give me a name for a {pet}.",
        "Name for a {pet}?",
        "I need a name for my {pet}.",
        "How should I name my {pet}?",
        "What is a good name for a {pet}?",
        "Name my {pet}.",
        "Think of a name for a {pet}.",
        "Can you suggest a name for my {pet}?",
    ),
    "coin": (
        "Flip a coin.",
        "Toss a coin.",
        "Heads or tails?",
        "Throw a coin.",
        "Flip a coin for me.",
        "Can you flip a coin?",
        "Please toss a coin for me.",
        "Coin flip.",
    ),
    "die": (
        "Roll a die.",
        "Roll a dice.",
        "Throw a die.",
        "Roll the dice.",
        "Can you roll a die?",
        "Roll a die for me.",
        "Pick a number from 1 to 6.",
        "Pick a number between 1 and 6.",
    ),
    "choice": (
        "Yes or no?",
        "Should I?",
        "Say yes or no.",
        "Should I do it, yes or no?",
        "Decide for me, yes or no.",
        "Answer yes or no at random.",
    ),
    "colour": (
        "Pick a colour.",
        "Pick a color.",
        "Name a colour.",
        "Name a color.",
        "Choose a colour.",
        "Say a colour.",
        "Give me a random colour.",
        "What is your favourite colour?",
        "What is your favorite color?",
        "Tell me a color.",
    ),
    "card": (
        "Pick a card.",
        "Draw a card.",
        "Pick a card, any card.",
        "Choose a card.",
        "Draw a playing card.",
        "Give me a random card.",
    ),
    "number": (
        "Pick a number from {low} to {high}.",
        "Pick a number between {low} and {high}.",
        "Give me a random number between {low} and {high}.",
        "Random number from {low} to {high}.",
        "Say a number between {low} and {high}.",
        "Choose a number from {low} to {high}.",
        "Pick a number.",
        "Give me a random number.",
        "Say a number.",
        "Random number, please.",
    ),
}
_PETS = ("cat", "cat", "cat", "kitten", "dog", "puppy", "pet", "hamster", "rabbit", "parrot")
_NUMBERS = (1, 10), (1, 10), (1, 100), (1, 100), (1, 20), (1, 50), (0, 9), (1, 1000)
_FREQUENCY = {"story": 5, "poem": 3, "joke": 2, "cat": 1.5, "number": 2}


def make(rng: Random) -> Sample:
    """Returns a request with one of its answers. The key is the exact wording of the request."""
    kind = rng.choices(list(ASKS), [_FREQUENCY.get(kind, 0.7) for kind in ASKS])[0]
    template = rng.choice(ASKS[kind])
    low, high = rng.choice(_NUMBERS) if "{low}" in template else (1, 100)
    about = {"animal": rng.choice(words.ANIMALS), "hero": words.first_name(rng)}
    asked = template.format(
        **about,
        a_animal=_article(about["animal"]),
        short=rng.choice(("", "", "short ", "little ")),
        pet=rng.choice(_PETS),
        low=low,
        high=high,
    )
    bound = {name: text for name, text in about.items() if f"{{{name}}}" in template or f"{{a_{name}}}" in template}
    if kind == "number":
        bound = {"low": str(low), "high": str(high)}
    text = words.vary(rng, asked)
    return Sample(
        skill=SKILL,
        key=text,
        messages=(user(text), assistant(_answer(rng, kind, bound))),
        check="open",
        kind=kind,
        bound=tuple(bound.items()),
    )


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _answer(rng: Random, kind: str, bound: dict[str, str]) -> str:
    if kind == "number":
        return f"{rng.randint(int(bound['low']), int(bound['high']))}."
    return GRAMMAR.write(rng, kind, bound)


def accepts(kind: str, bound: dict[str, str], answer: str) -> bool:
    """Returns whether `answer` is a possible answer to a request of this kind that states the texts in `bound`."""
    if kind == "number":
        digits = answer.removesuffix(".")
        return answer != digits and digits.isdecimal() and int(bound["low"]) <= int(digits) <= int(bound["high"])
    return GRAMMAR.accepts(kind, bound, answer)
