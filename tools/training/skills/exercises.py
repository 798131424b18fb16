"""Dense exercises in copying and adding, abilities on which the other skills rely."""

from __future__ import annotations

from random import Random

from tools.training.sample import Sample, assistant, trained, user
from tools.training.skills import arithmetic, words

SKILL = "exercise"
_REPEAT = ("Repeat: {}", "Repeat after me: {}", "Say {}", "Write {}", "Copy this: {}", "Echo {}")


def make(rng: Random) -> Sample:
    """Returns an exercise for training only: words to repeat, or a list of sums."""
    return _sums(rng) if rng.random() < 0.6 else _repeat(rng)


def _repeat(rng: Random) -> Sample:
    makers = (
        words.made_up,
        words.made_up,
        words.full_name,
        words.email,
        words.city,
        words.company,
        words.date,
        words.phone,
    )
    text = " ".join(rng.choice(makers)(rng) for _ in range(rng.randint(2, 8)))
    return Sample(skill=SKILL, key=text, messages=(user(rng.choice(_REPEAT).format(text)), assistant(text)))


def _sums(rng: Random) -> Sample:
    """Returns several sums at once: `47 + 38, 9 - 5` -> `47 + 38 = 85. 9 - 5 = 4.` None of the sums is held out."""
    answers = [trained(arithmetic.make, rng).answer["content"] for _ in range(rng.randint(4, 9))]
    asked = ", ".join(answer.split(" =")[0] for answer in answers)
    messages = (user(f"Compute {asked}"), assistant(" ".join(answers)))
    return Sample(skill=SKILL, key=asked, messages=messages)
