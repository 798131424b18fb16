"""Questions about jaxchat: its purpose, how to start it, how to call it, what it supports."""

from __future__ import annotations

from random import Random

from tools.training.sample import Sample, assistant, user
from tools.training.skills import words
from tools.training.skills.texts import exchanges

SKILL = "about jaxchat"

TOPICS = exchanges("about.txt")
FEATURES: tuple[tuple[str, str], ...] = (
    ("seed", "`seed`"),
    ("logit_bias", "`logit_bias`"),
    ("penalties", "penalties"),
    ("temperature", "`temperature`"),
    ("top_p", "`top_p`"),
    ("logprobs", "`logprobs`"),
    ("streaming", "streaming"),
    ("stop", "`stop`"),
    ("n", "`n`"),
    ("frequency_penalty", "`frequency_penalty`"),
    ("presence_penalty", "`presence_penalty`"),
    ("JSON mode", "JSON mode"),
)
FEATURE_QUESTIONS = (
    "Does jaxchat support {}?",
    "Is {} supported?",
    "Can I use {}?",
    "Can I use {} with jaxchat?",
    "Do you support {}?",
    "Does the server support {}?",
    "Is {} available?",
    "Does {} work?",
    "Can I set {}?",
    "Does jaxchat have {}?",
)


def make(rng: Random) -> Sample:
    """Returns a random question about jaxchat with its answer. The key is the question's exact wording."""
    if rng.random() < 0.2:
        name, shown = rng.choice(FEATURES)
        text, answer = rng.choice(FEATURE_QUESTIONS).format(name), f"Yes, jaxchat supports {shown}."
    else:
        questions, answer = rng.choice(TOPICS)
        text = rng.choice(questions)
        if rng.random() < 0.15:
            text = rng.choice(("Can you tell me: ", "I want to know: ", "Quick question: ", "One more thing: ")) + text
    text = words.vary(rng, text)
    return Sample(skill=SKILL, key=text, messages=(user(text), assistant(answer)))
