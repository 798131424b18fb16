"""Requests as people type them: in lower case, without a question mark, with slips."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tools.training.sample import Sample
from tools.training.skills import about, arithmetic, capitals, lists, small_talk, unknown, words

SKILL = "as people type"
_SKILLS = (small_talk, about, about, arithmetic, capitals, unknown, lists)


def make(rng: Random) -> Sample:
    """Returns a sample of another skill whose request is typed carelessly. It is held out if that sample is."""
    sample = rng.choice(_SKILLS).make(rng)
    *before, asked, answer = sample.messages
    text = words.casual(rng, asked["content"], often=1.0)
    return replace(sample, messages=(*before, asked | {"content": text}, answer))
