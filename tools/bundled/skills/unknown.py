"""Questions that the model cannot answer, and should say so."""

from __future__ import annotations

from random import Random

from tools.bundled.sample import Sample, assistant, user
from tools.bundled.skills import words
from tools.bundled.skills.small_talk import ABILITIES

SKILL = "unknown"
ANSWER = f"I am a small model and do not know that. I can {ABILITIES}."

TEMPLATES = (
    "Who wrote {thing}?",
    "Who is {person}?",
    "When was {person} born?",
    "What is {thing}?",
    "What is a {animal}?",
    "How do I cook {food}?",
    "How do I make {food}?",
    "Write a poem about {animal}s.",
    "Write a story about a {animal}.",
    "Who invented the {product}?",
    "How does a {product} work?",
    "Why is the sky {colour}?",
    "What happened in {year}?",
    "Who won the world cup in {year}?",
    "Who was the president in {year}?",
    "How tall is {person}?",
    "How old is {person}?",
    "Explain {thing} to me.",
    "What does {thing} mean?",
    "How many people live in {city}?",
    "How far is {city} from {city2}?",
    "Where is {city}?",
    "What is the population of {city}?",
    "Who is the mayor of {city}?",
    "What is the best {food} in {city}?",
    "Write an essay about {city}.",
    "Summarise {thing}.",
    "Describe {person}.",
    "What is the meaning of life?",
    "Sing a song about {food}.",
    "How fast is a {animal}?",
    "What do {animal}s eat?",
    "How long does a {animal} live?",
    "Is {food} healthy?",
    "Why do {animal}s sleep?",
    "What is the history of {city}?",
    "Recommend a book about {thing}.",
    "Who painted {thing}?",
    "Which {product} should I buy?",
    "What is the chemical formula of {thing}?",
    "How heavy is a {animal}?",
    "Solve the riddle of {thing}.",
    "What should I wear in {city}?",
    "Give me a recipe for {food}.",
    "Who is the owner of {company}?",
    "What does {company} do?",
    "Is {person} married?",
    "Do you like {food}?",
    "Should I buy a {colour} {product}?",
    "Where can I find {food} in {city}?",
    "What is quantum {thing}?",
    "Who discovered {thing}?",
    "Why did {person} leave {city}?",
    "What is the largest {animal} in the world?",
)


def make(rng: Random) -> Sample:
    """One question; its exact wording is the key."""
    text = rng.choice(TEMPLATES).format(
        thing=rng.choice(
            (
                words.made_up(rng),
                words.made_up(rng).capitalize(),
                "gravity",
                "Hamlet",
                "physics",
                "music",
                "history",
                "philosophy",
                "love",
                "democracy",
                "chemistry",
                "the Mona Lisa",
                "water",
                "time",
                "economics",
                "photosynthesis",
                "mechanics",
            )
        ),
        person=words.full_name(rng),
        animal=rng.choice(words.ANIMALS),
        food=rng.choice(words.FOODS),
        product=rng.choice(words.PRODUCTS),
        colour=rng.choice(words.COLOURS),
        year=rng.randrange(1200, 2030),
        city=words.city(rng),
        city2=words.city(rng),
        company=words.company(rng),
    )
    text = words.vary(rng, text)
    return Sample(skill=SKILL, key=text, messages=(user(text), assistant(ANSWER)))
