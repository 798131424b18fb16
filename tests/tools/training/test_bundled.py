"""The weights in the package: skill on held-out prompts, variety of open answers, and answers that end."""

from __future__ import annotations

import pytest

import jaxchat.bundled
from tools.training import data
from tools.training.decode import Sampler
from tools.training.evaluate import direct, measure
from tools.training.sample import user
from tools.training.template import render


@pytest.mark.parametrize("skill", ["small talk", "capitals", "as people type", "extraction", "three digits", "lists"])
def test_most_held_out_answers_are_exact(skill: str) -> None:
    examples, right = measure(direct(jaxchat.bundled.path(), 0.0), skill, 32, seed=5, show=3)
    assert examples == 32
    assert right >= 27


@pytest.mark.parametrize("temperature", [1.5, 2.0])
def test_open_answers_vary(temperature: float) -> None:
    sampler = Sampler(jaxchat.bundled.path(), temperature, longest_answer=100)
    for text in ("Tell me a story.", "write a poem"):
        assert len(set(sampler.complete([render([user(text)], generate=True)] * 6))) == 6


def test_answers_end() -> None:
    samples = [sample for skill in data.SKILLS for sample in data.held_out(6, skill, 2) if not sample.tools]
    sampler = Sampler(jaxchat.bundled.path(), 1.0, longest_answer=512)
    answers = sampler.complete([render(sample.prompt, generate=True) for sample in samples])
    assert max(len(sampler.tokenizer.encode(answer).ids) for answer in answers) < 512
