"""Seeds, choices, fingerprints: what is reproducible, and through which door does not matter."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.covering import covers
from tests.contract.doors import NAMES, Door
from tests.contract.echo import END
from tests.contract.place import Place

ASKED = dict(max_tokens=12, temperature=1, seed=11)
LONG = {str(END): -100}


def sample_texts(door: Door, **fields) -> list[str | None]:
    return [said.text for said in door.ask(**ASKED | fields).choices]


@covers("ChatCompletionRequest.seed", "ChatCompletion.seed_used", "ChatCompletionChunk.seed_used")
@pytest.mark.parametrize("seed", [0, -1, 2**63 - 1, -(2**63)])
def test_a_seed_gives_the_same_answer_again(tiny_place: Place, seed: int) -> None:
    answers = [tiny_place.door(name).ask(**ASKED | {"seed": seed}, logit_bias=LONG) for name in NAMES]
    assert {answer.text for answer in answers} == {answers[0].text}
    assert {answer.seed for answer in answers} == {seed}


def test_all_64_bits_of_the_seed_count(door: Door) -> None:
    seeds = (1, 1 + 2**32, 1 - 2**63, -1, 2**32 - 1)
    assert len({sample_texts(door, seed=seed, logit_bias=LONG)[0] for seed in seeds}) == len(seeds)


def test_without_a_seed_each_answer_differs_and_can_be_replayed(door: Door) -> None:
    first, second = (door.ask(**ASKED | {"seed": None}, logit_bias=LONG) for _ in range(2))
    assert first.text != second.text and first.seed != second.seed
    again = door.ask(**ASKED | {"seed": first.seed}, logit_bias=LONG)
    assert (again.text, again.seed) == (first.text, first.seed)


@covers("ChatCompletionRequest.n", "Choice.index", "ChunkChoice.index")
@pytest.mark.parametrize("name", ["openai", "openai stream", "stub", "stub stream"])
def test_up_to_128_choices_are_made_in_waves(tiny_place: Place, name: str) -> None:
    door = tiny_place.door(name)
    answer = door.ask(**ASKED | {"max_tokens": 2, "n": 128}, logit_bias=LONG)
    assert len(answer.choices) == 128 and len({said.text for said in answer.choices}) > 64
    assert answer.usage and answer.usage[1] == 256


def test_choices_differ_reproduce_and_begin_with_the_single_one(door: Door) -> None:
    three = sample_texts(door, n=3, logit_bias=LONG)
    assert len(set(three)) == 3 and sample_texts(door, n=3, logit_bias=LONG) == three
    assert sample_texts(door, n=1, logit_bias=LONG) == three[:1] == sample_texts(door, logit_bias=LONG)


def test_an_answer_does_not_depend_on_what_is_reported_or_how_long_it_may_be(door: Door) -> None:
    (text,) = sample_texts(door, logit_bias=LONG)
    assert sample_texts(door, logit_bias=LONG, logprobs=True, top_logprobs=20) == [text]
    (longer,) = sample_texts(door, logit_bias=LONG, max_tokens=40)
    assert text and longer and longer.startswith(text.rstrip("\ufffd"))


def test_an_answer_does_not_depend_on_its_neighbours(tiny_place: Place) -> None:
    cases = [
        dict(seed=seed, max_tokens=1 + 5 * seed, temperature=(seed % 3) / 1.5, n=1 + seed % 3) for seed in range(8)
    ]
    doors = [tiny_place.door(NAMES[seed % len(NAMES)]) for seed in range(8)]
    alone = [sample_texts(door, **case) for door, case in zip(doors, cases, strict=True)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda door, case: sample_texts(door, **case), doors, cases)) == alone


@covers("ChatCompletion.system_fingerprint", "ChatCompletionChunk.system_fingerprint")
def test_the_fingerprint_is_the_same_everywhere(tiny_place: Place) -> None:
    found = {tiny_place.door(name).ask(**ASKED).fingerprint for name in NAMES}
    found.add(tiny_place.session.info.fingerprint)
    (fingerprint,) = found
    assert fingerprint.startswith("fp_") and len(fingerprint) == 13 and int(fingerprint[3:], 16) >= 0


def test_the_user_changes_nothing(door: Door) -> None:
    assert sample_texts(door, user="somebody\0") == sample_texts(door)
