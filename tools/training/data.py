"""Training and held-out samples: a mixture of skills, system prompts and long conversations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Literal

from tools.training.sample import Sample
from tools.training.skills import (
    about,
    arithmetic,
    capitals,
    exercises,
    extract,
    followup,
    json_objects,
    lists,
    open_ended,
    plain_results,
    small_talk,
    tool_use,
    typed,
    unknown,
    words,
)

Split = Literal["train", "heldout"]
Make = Callable[[Random], Sample]

SKILLS: dict[str, Make] = {
    small_talk.SKILL: small_talk.make,
    about.SKILL: about.make,
    arithmetic.SKILL: arithmetic.make,
    capitals.SKILL: capitals.make,
    followup.SKILL: followup.make,
    extract.SKILL: extract.make,
    tool_use.CALL: tool_use.make_call,
    tool_use.DECLINE: tool_use.make_decline,
    tool_use.RESULT: tool_use.make_result,
    unknown.SKILL: unknown.make,
    arithmetic.LONG: arithmetic.make_long,
    lists.SKILL: lists.make,
    json_objects.SKILL: json_objects.make,
    plain_results.SKILL: plain_results.make,
    open_ended.SKILL: open_ended.make,
    typed.SKILL: typed.make,
}
EXERCISES: dict[str, Make] = {  # not judged
    exercises.SKILL: exercises.make,
    tool_use.SESSION: tool_use.make_session,
    json_objects.EXERCISE: json_objects.make_exercise,
}
WEIGHTS: dict[str, float] = {
    small_talk.SKILL: 3.0,
    about.SKILL: 5.0,
    arithmetic.SKILL: 4.0,
    capitals.SKILL: 5.0,
    followup.SKILL: 5.0,
    extract.SKILL: 7.0,
    tool_use.CALL: 5.0,
    tool_use.DECLINE: 3.5,
    tool_use.RESULT: 1.5,
    unknown.SKILL: 1.5,
    arithmetic.LONG: 8.0,
    lists.SKILL: 5.0,
    json_objects.SKILL: 3.0,
    plain_results.SKILL: 2.0,
    open_ended.SKILL: 6.0,
    typed.SKILL: 5.0,
    exercises.SKILL: 3.0,
    tool_use.SESSION: 2.0,
    json_objects.EXERCISE: 4.0,
}
SYSTEM = (
    "You are a helpful assistant.",
    "You are jaxchat, a helpful assistant.",
    "Be brief.",
    "Answer politely.",
    "Be concise and correct.",
    "You are a friendly chat model.",
    "Help the user.",
    "You are a small model.",
    "Keep your answers short.",
    "You are an assistant.",
)
CHATTY = (
    small_talk.SKILL,
    about.SKILL,
    arithmetic.SKILL,
    capitals.SKILL,
    followup.SKILL,
    extract.SKILL,
    unknown.SKILL,
    arithmetic.LONG,
    lists.SKILL,
    open_ended.SKILL,
    typed.SKILL,
)


def draw(rng: Random, skill: str, split: Split) -> Sample:
    """Returns a sample of `skill` that belongs to `split`, sometimes with a general system prompt."""
    while True:
        sample = (SKILLS | EXERCISES)[skill](rng)
        if sample.held_out == (split == "heldout"):
            break
    if sample.messages[0]["role"] != "system" and rng.random() < 0.4:
        sample = sample.with_system(_role(rng) if rng.random() < 0.15 else rng.choice(SYSTEM))
    return sample


def _role(rng: Random) -> str:
    """Returns a varied system prompt that does not change the answer."""
    name, animal, city = words.first_name(rng), rng.choice(words.ANIMALS), words.city(rng)
    return rng.choice(
        (f"You are {name}.", f"You are a {animal} from {city}.", f"You help {name} in {city}.", f"Be kind to {name}.")
    )


def long_conversation(rng: Random, turns: int) -> Sample:
    """Returns one conversation of `turns` unrelated training samples."""
    parts = [draw(rng, rng.choice(CHATTY), "train") for _ in range(turns)]
    messages = tuple(m for part in parts for m in part.messages if m["role"] != "system")
    return Sample(skill="long", key="", messages=messages)


def stream(seed: int, weights: dict[str, float] | None = None, longest: int = 4) -> Iterator[Sample]:
    """Yields an endless series of training samples.

    One in twelve on average is a conversation of 2 to `longest` unrelated samples.

    Args:
        seed: seed of the samples.
        weights: relative frequency by skill. Replaces entries of `WEIGHTS`.
        longest: maximum number of samples in a conversation.
    """
    rng = Random(seed)
    weights = WEIGHTS | (weights or {})
    while True:
        if rng.random() < 1 / 12:
            yield long_conversation(rng, rng.randint(2, longest))
        else:
            yield draw(rng, rng.choices(list(weights), list(weights.values()))[0], "train")


def held_out(seed: int, skill: str, count: int) -> list[Sample]:
    """Returns up to `count` held-out samples of one skill, all with different keys. Tries at most 200 * count draws."""
    rng, samples = Random(f"{seed}:{skill}"), {}
    for _ in range(200 * count):
        sample = draw(rng, skill, "heldout")
        samples.setdefault(sample.key, sample)
        if len(samples) == count:
            break
    return list(samples.values())
