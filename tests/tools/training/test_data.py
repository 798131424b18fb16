"""The generated conversations: repeatable, split without overlap, answered as they are checked."""

from __future__ import annotations

import json
from itertools import islice

import pytest

from tools.training import data
from tools.training.evaluate import correct
from tools.training.sample import Sample


@pytest.fixture(scope="module")
def trained() -> list[Sample]:
    return list(islice(data.stream(7), 5000))


def test_same_seed_gives_the_same_stream(trained: list[Sample]) -> None:
    assert list(islice(data.stream(7), 500)) == trained[:500]
    assert list(islice(data.stream(8), 500)) != trained[:500]


def test_every_skill_is_trained(trained: list[Sample]) -> None:
    assert {s.skill for s in trained} == {*data.SKILLS, *data.EXERCISES, "long"}


@pytest.mark.parametrize("skill", data.SKILLS)
def test_held_out_keys_are_never_trained(skill: str, trained: list[Sample]) -> None:
    held = data.held_out(1, skill, 100)
    assert len(held) == 100
    assert not {s.key for s in held} & {s.key for s in trained if s.skill == skill}


def test_held_out_sums_appear_nowhere_in_training(trained: list[Sample]) -> None:
    written = "\n".join(str(m["content"]) for s in trained for m in s.messages if m["role"] == "assistant")
    answers = {s.answer["content"] for s in data.held_out(1, "arithmetic", 300)}
    assert not [a for a in answers if f"\n{a}" in written or f" {a}" in written]


@pytest.mark.parametrize("skill", data.SKILLS)
def test_the_expected_answer_passes_its_check_and_another_fails(skill: str) -> None:
    first, *rest = data.held_out(2, skill, 30)
    assert all(correct(s, s.answer) for s in (first, *rest))
    assert not correct(first, {"role": "assistant", "content": "Something else."})


def test_calls_fit_the_declaration(trained: list[Sample]) -> None:
    for sample in trained:
        declared = {t["function"]["name"]: t["function"]["parameters"] for t in sample.tools}
        assert len(declared) == len(sample.tools)
        for message in sample.messages:
            for call in message.get("tool_calls") or []:
                schema, arguments = (
                    declared[call["function"]["name"]],
                    json.loads(call["function"]["arguments"]),
                )
                assert set(schema.get("required", [])) <= set(arguments) <= set(schema["properties"])
