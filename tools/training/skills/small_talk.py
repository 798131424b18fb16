"""Greetings, thanks, goodbyes, and the identity of the model."""

from __future__ import annotations

from random import Random

from tools.training.sample import Sample, assistant, user
from tools.training.skills import words
from tools.training.skills.texts import exchanges

SKILL = "small talk"
ABILITIES = (
    "answer questions about jaxchat, add and subtract, name capitals, write lists and short stories, extract fields to "
    "JSON and call tools"
)
EXCHANGES = exchanges("small_talk.txt")


def make(rng: Random) -> Sample:
    """Returns a short exchange. The key is the user's text with its case and punctuation."""
    questions, answer = rng.choice(EXCHANGES)
    text = rng.choice(questions)
    if not text.endswith("?"):
        text += rng.choice(("", "", "!", ".", "!!", " :)"))
    elif rng.random() < 0.2:
        text = text.rstrip("?")
    case = rng.random()
    if case < 0.35:
        text = words.casual(rng, text, often=1.0)
    elif case < 0.4:
        text = text.upper()
    if rng.random() < 0.25:
        text = rng.choice(("Well, ", "So, ", "Oh, ", "And ", "Um, ", "Hey, ")) + text
    return Sample(skill=SKILL, key=text, messages=(user(text), assistant(answer)))


def told_name(rng: Random) -> tuple[str, str, str]:
    """Returns a user's introduction, the reply to it, and the user's name."""
    name = words.first_name(rng)
    said = rng.choice(
        (
            "My name is {}.",
            "I am {}.",
            "Hello, I am {}.",
            "Hi, my name is {}.",
            "You can call me {}.",
            "I'm {}.",
            "Call me {}.",
            "Hi, I'm {}!",
            "hello my name is {}",
            "my name is {}",
        )
    )
    return words.casual(rng, said).format(name), f"Nice to meet you, {name}!", name
