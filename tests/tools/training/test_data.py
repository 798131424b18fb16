"""The generated conversations: repeatable, split without overlap, answered as they are checked."""

from __future__ import annotations

import json
from itertools import islice
from random import Random

import pytest

from tools.training import data
from tools.training.evaluate import correct
from tools.training.sample import Sample
from tools.training.skills import about, lists, small_talk, typed
from tools.training.skills.open_ended import GRAMMAR


@pytest.fixture(scope="module")
def trained() -> list[Sample]:
    return list(islice(data.stream(7), 5000))


def test_same_seed_gives_the_same_stream(trained: list[Sample]) -> None:
    assert list(islice(data.stream(7), 500)) == trained[:500]
    assert list(islice(data.stream(8), 500)) != trained[:500]


def test_every_skill_is_trained(trained: list[Sample]) -> None:
    assert {s.skill for s in trained} == {*data.SKILLS, *data.EXERCISES, "long"} - {typed.SKILL}


@pytest.mark.parametrize("skill", data.SKILLS)
def test_held_out_keys_are_never_trained(skill: str, trained: list[Sample]) -> None:
    held = data.held_out(1, skill, 100)
    assert len(held) == 100
    assert not {(s.skill, s.key) for s in held} & {(s.skill, s.key) for s in trained}


@pytest.mark.parametrize("skill", ["arithmetic", "three digits"])
def test_held_out_sums_appear_nowhere_in_training(skill: str, trained: list[Sample]) -> None:
    written = "\n".join(str(m["content"]) for s in trained for m in s.messages if m["role"] == "assistant")
    answers = {s.answer["content"] for s in data.held_out(1, skill, 300)}
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


def test_a_question_has_one_answer() -> None:
    questions = [q.lower() for questions, _ in (*about.TOPICS, *small_talk.EXCHANGES) for q in questions]
    assert len(questions) == len(set(questions))


def test_a_careless_request_asks_for_the_same() -> None:
    for sample in data.held_out(3, typed.SKILL, 100):
        asked = sample.prompt[-1]["content"]
        assert asked == asked.lower() or asked[-1] not in "?." or asked != sample.key
        assert correct(sample, sample.answer)


@pytest.mark.parametrize("seed", range(5))
def test_a_grammar_accepts_what_it_writes_and_nothing_cut_or_mixed(seed: int) -> None:
    bound = {"animal": "fox", "hero": "Bob"}
    story, poem = (GRAMMAR.write(Random(seed), symbol, bound) for symbol in ("story", "poem"))
    assert GRAMMAR.accepts("story", bound, story) and GRAMMAR.accepts("poem", bound, poem)
    assert not GRAMMAR.accepts("poem", bound, story)
    assert not GRAMMAR.accepts("story", bound, story[:-1])
    assert not GRAMMAR.accepts("story", bound | {"hero": "Eve"}, story)
    assert not GRAMMAR.accepts("story", bound, story.replace("Bob", "Eve", 1))


def test_a_list_is_judged_by_kind_length_and_repetition() -> None:
    expected = lists.numbered(["red", "blue", "green"])
    assert lists.accepts("colours", expected, lists.numbered(["black", "white", "grey"]))
    for items in (["red", "blue"], ["red", "blue", "red"], ["red", "blue", "cat"], ["red", "blue", "green", "grey"]):
        assert not lists.accepts("colours", expected, lists.numbered(items))
