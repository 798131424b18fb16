"""Questions that the model cannot answer. The model learns to say so."""

from __future__ import annotations

from random import Random

from tools.training.sample import Sample, assistant, user
from tools.training.skills import words
from tools.training.skills.small_talk import ABILITIES
from tools.training.skills.texts import read

SKILL = "unknown"
ANSWER = f"I am a small model and do not know that. I can {ABILITIES}."

TEMPLATES = read("unknown.txt").splitlines()


def make(rng: Random) -> Sample:
    """Returns a question with its answer. The key is the question's exact wording."""
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
