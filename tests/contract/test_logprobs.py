"""Log-probability entries: true bytes, the contract's values, and that they go with their text."""

from __future__ import annotations

import math

import pytest

from tests.contract.answers import Answer
from tests.contract.covering import covers
from tests.contract.doors import Door
from tests.contract.echo import SPLIT
from tests.contract.loading import message_fields
from tests.contract.tokens import TEXTLESS

WIDE = dict(temperature=2, seed=6, max_tokens=60, logit_bias=TEXTLESS, logprobs=True)


@covers(
    *("ChatCompletionRequest.logprobs", "Choice.logprobs", "ChunkChoice.logprobs", "ChoiceLogprobs.content"),
    *("TokenLogprob.token", "TokenLogprob.logprob", "TokenLogprob.bytes", "TokenLogprob.token_id"),
)
def test_entries_spell_the_content(door: Door) -> None:
    answer = door.ask(**WIDE)
    assert len(answer.entries) == 60
    assert answer.choices[0].entry_bytes.decode("utf-8", "replace") == answer.text
    for entry in answer.entries:
        assert entry.token.encode() == entry.bytes or entry.token == "".join(f"\\x{byte:02x}" for byte in entry.bytes)
        assert math.isfinite(entry.logprob) and not entry.top


@pytest.mark.parametrize("fields", [{}, {"logprobs": False}])
def test_nobody_gets_entries_unasked(door: Door, fields: dict) -> None:
    assert door.ask(max_tokens=3, **fields).choices[0].entries is None


@covers(
    *("ChatCompletionRequest.top_logprobs", "TokenLogprob.top_logprobs", "TopLogprob.token"),
    *("TopLogprob.logprob", "TopLogprob.bytes", "TopLogprob.token_id"),
)
@pytest.mark.parametrize("k", [1, 5, 20])
def test_top_logprobs_are_exactly_k_and_falling(door: Door, k: int) -> None:
    entries = door.ask(**WIDE, top_logprobs=k).entries
    assert {len(entry.top) for entry in entries} == {k}
    for entry in entries:
        values = [top.logprob for top in entry.top]
        assert values == sorted(values, reverse=True) and sum(map(math.exp, values)) <= 1 + 1e-5


@covers("ChatCompletionRequest.exact_logprobs")
def test_tokens_beyond_the_20_likeliest_report_a_stand_in(door: Door) -> None:
    plain, exact = door.ask(**WIDE, top_logprobs=20), door.ask(**WIDE, exact_logprobs=True)
    beyond = 0
    for one, other in zip(plain.entries, exact.entries, strict=True):
        among = {top.bytes: top.logprob for top in one.top}
        assert one.logprob == among.get(one.bytes, -9999.0)
        assert -60 < other.logprob < 0 and (one.logprob == other.logprob or one.logprob == -9999.0)
        beyond += one.logprob == -9999.0
    assert beyond


def test_the_reported_distribution_is_the_models_own(door: Door) -> None:
    def top_distribution(**fields) -> dict[bytes, float]:
        answer = door.ask(**{"max_tokens": 1, "logprobs": True, "top_logprobs": 20, "logit_bias": TEXTLESS, **fields})
        return {top.bytes: top.logprob for top in answer.entries[0].top}

    plain = top_distribution()
    for fields in ({"temperature": 0.1}, {"top_p": 0}, {"logit_bias": {"65": 100}}, {"frequency_penalty": 2}):
        assert top_distribution(**fields) == plain


def test_the_end_of_the_turn_has_no_entry(echo: Door) -> None:
    answer = echo.ask(**message_fields("ab"), logprobs=True, top_logprobs=2)
    assert answer.choices[0].entry_bytes == b"ab" and answer.usage and answer.usage[1] == 3
    assert {len(entry.top) for entry in answer.entries} == {2}


def test_fragments_of_characters_have_their_bytes(echo: Door) -> None:
    answer = echo.ask(**message_fields("é😀"), logprobs=True)
    assert [entry.token for entry in answer.entries] == [f"\\x{byte:02x}" for byte in "é😀".encode()]
    cut = echo.ask(**message_fields("a😀"), logprobs=True, max_tokens=3)
    assert cut.text == "a\ufffd" and cut.choices[0].entry_bytes == "a😀".encode()[:3]


def test_entries_of_a_stop_string_are_dropped_and_the_one_across_the_cut_stays(echo: Door) -> None:
    def text_and_bytes(answer: Answer) -> tuple[str | None, bytes]:
        return answer.text, answer.choices[0].entry_bytes

    assert text_and_bytes(echo.ask(**message_fields("abXYc"), stop="XY", logprobs=True)) == ("ab", b"ab")
    # "he" is one token.
    assert text_and_bytes(echo.ask(**message_fields("abhec"), stop="ec", logprobs=True)) == ("abh", b"abhe")
    assert text_and_bytes(echo.ask(**message_fields("abhec"), stop="hec", logprobs=True)) == ("ab", b"ab")


def test_each_choice_has_its_own_entries(echo: Door) -> None:
    answer = echo.ask(**message_fields(f"ab{SPLIT}€x"), n=2, logprobs=True)
    assert [said.entry_bytes for said in answer.choices] == [b"ab", "€x".encode()]
