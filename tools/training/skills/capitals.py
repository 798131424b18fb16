"""Countries and their capitals, in both directions."""

from __future__ import annotations

from random import Random

from tools.training.sample import Sample, assistant, user
from tools.training.skills import words
from tools.training.skills.texts import read

SKILL = "capitals"

CAPITALS = dict(line.split(": ") for line in read("capitals.txt").splitlines())

FORWARD = (
    "What is the capital of {}?",
    "What's the capital of {}?",
    "Capital of {}?",
    "capital of {}",
    "Which city is the capital of {}?",
    "Name the capital of {}.",
    "Tell me the capital of {}.",
    "Do you know the capital of {}?",
    "What is the capital city of {}?",
    "What city is the capital of {}?",
    "Can you tell me the capital of {}?",
    "The capital of {} is?",
    "I need the capital of {}.",
    "Which is the capital of {}?",
    "What capital does {} have?",
    "Give me the capital of {}.",
)
BACKWARD = (
    "Which country has the capital {}?",
    "Which country has {} as its capital?",
    "{} is the capital of which country?",
    "What country is {} the capital of?",
    "Of which country is {} the capital?",
    "Whose capital is {}?",
    "Which country's capital is {}?",
    "Name the country whose capital is {}.",
    "What country has the capital {}?",
    "Tell me the country whose capital is {}.",
)
ONE_WORD = (
    "Answer in one word.",
    "Answer with one word.",
    "Reply with a single word.",
    "Answer in one word only.",
)


def fact(country: str) -> str:
    """Returns a sentence such as `The capital of France is Paris.`"""
    return f"The capital of {country} is {CAPITALS[country]}."


def forward(rng: Random, country: str) -> str:
    """Returns a question for the capital of `country`. Sometimes omits the article of the country."""
    name = country.removeprefix("the ") if rng.random() < 0.15 else country
    return words.vary(rng, rng.choice(FORWARD).format(name))


def make(rng: Random) -> Sample:
    """Returns a question with its answer. The key is the exact wording, so every fact also occurs in training."""
    country = rng.choice(list(CAPITALS))
    city = CAPITALS[country]
    draw = rng.random()
    if draw < 0.6:
        text, answer = forward(rng, country), fact(country)
    elif draw < 0.85:
        text = words.vary(rng, rng.choice(BACKWARD).format(city))
        answer = f"{city} is the capital of {country}."
    else:
        return _one_word(rng, country)
    return Sample(skill=SKILL, key=text, messages=(user(text), assistant(answer)))


def _one_word(rng: Random, country: str) -> Sample:
    text = forward(rng, country)
    messages = (user(text), assistant(CAPITALS[country]))
    return Sample(skill=SKILL, key=text, messages=messages).with_system(rng.choice(ONE_WORD))
