"""Asks for many answers at a temperature: how long the longest is, and whether open prompts vary between seeds."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from random import Random

import jaxchat
import jaxchat.bundled
from tools.training import data
from tools.training.sample import Sample

SLOTS = 8
OPEN = (
    "Tell me a story.",
    "write a short story about a fox",
    "Write a poem.",
    "tell me a joke",
    "What should I call my cat?",
    "Pick a number between 1 and 1000.",
    "list five animals",
    "Make up a product as JSON.",
)


def asked(seed: int) -> Iterator[Sample]:
    """Yields an endless series of held-out samples, of all skills and sessions with tools in turn."""
    rng, skills = Random(seed), [*data.SKILLS, *data.EXERCISES]
    while True:
        for skill in skills:
            yield data.draw(rng, skill, "heldout" if skill in data.SKILLS else "train")


class Asker:
    """Asks a model in this process.

    Args:
        directory: folder of the model.
        temperature: temperature of all answers.
    """

    def __init__(self, directory: Path, temperature: float) -> None:
        self._client = jaxchat.load(str(directory), slots=SLOTS)
        self._temperature = temperature
        self._pool = ThreadPoolExecutor(SLOTS)

    def _ask(self, sample: Sample, seed: int) -> tuple[str, int]:
        params = {**sample.request, "temperature": self._temperature, "seed": seed}
        answer = self._client.chat.completions.create(**params)
        return answer.choices[0].message.content or "", answer.usage.completion_tokens

    def lengths(self, samples: list[Sample]) -> list[tuple[str, int]]:
        """Returns text and number of tokens of an answer to each sample, with seeds 1, 2 and so on."""
        return list(self._pool.map(self._ask, samples, range(1, len(samples) + 1)))

    def texts(self, prompt: str, seeds: int) -> list[str]:
        """Returns the answers to a prompt with the seeds from 1 to `seeds`."""
        sample = Sample(skill="", key="", messages=({"role": "user", "content": prompt}, {"role": "assistant"}))
        return [text for text, _ in self._pool.map(self._ask, [sample] * seeds, range(1, seeds + 1))]


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=jaxchat.bundled.path(), help="model folder")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--count", type=int, default=0, help="answers to take the longest of")
    parser.add_argument("--seeds", type=int, default=0, help="seeds for each open prompt")
    parser.add_argument("--seed", type=int, default=1, help="seed of the prompts")
    args = parser.parse_args()
    asker = Asker(args.model, args.temperature)
    if args.count:
        samples = list(islice(asked(args.seed), args.count))
        answers = asker.lengths(samples)
        longest, index = max((length, index) for index, (_, length) in enumerate(answers))
        print(f"{args.count} answers, the longest has {longest} tokens, {sum(n > 512 for _, n in answers)} over 512")
        print(f"- {samples[index].prompt[-1]['content']!r}\n  {answers[index][0][:200]!r}")
    for prompt in OPEN if args.seeds else ():
        texts = asker.texts(prompt, args.seeds)
        print(f"{prompt!r}: {len(set(texts))} different answers of {len(texts)}")


if __name__ == "__main__":
    main()
