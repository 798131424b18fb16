"""From tokens to what the reader sees: characters, stops, tool calls, log-probability entries."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from jaxchat import v1
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.response.choice import ChoiceBuilder, ChoiceDelta, ChoiceOptions
from jaxchat.chat.tools.hermes import HERMES
from jaxchat.types import TokenEvent, TopLogprobs
from tests import tiny
from tests.chat.prompt import tokenizers as small

SOURCE = tiny.tokenizer_json()
LIBRARY = Tokenizer.from_str(SOURCE)
TOKENIZER = ChatTokenizer(SOURCE, frozenset({LIBRARY.token_to_id("<|im_end|>")}))
BYTES = {TOKENIZER.bytes_of(id_): id_ for id_ in range(TOKENIZER.size) if len(TOKENIZER.bytes_of(id_)) == 1}
TOP = TopLogprobs(np.array([5, 6], np.int32), np.array([-0.1, -np.inf], np.float32))


def run(data: bytes, finish: str = "stop", **options) -> list[ChoiceDelta]:
    """What a reader sees who looks after each token; one byte a token, then the end."""
    builder = ChoiceBuilder(TOKENIZER, ChoiceOptions(**options))
    events = [TokenEvent(1, 0, BYTES[bytes([byte])], logprob=-0.5, top=TOP) for byte in data]
    if finish == "stop":
        events.append(TokenEvent(1, 0, LIBRARY.token_to_id("<|im_end|>"), "stop", top=TOP))
    else:
        events[-1] = TokenEvent(1, 0, events[-1].token, "length", -0.5, TOP)
    deltas = []
    for event in events:
        builder.feed(event)
        deltas.append(builder.take())
        if builder.finished:
            break
    assert builder.tokens == len(deltas)
    return deltas


def text(deltas: list[ChoiceDelta]) -> str:
    return "".join(delta.text for delta in deltas)


@given(st.binary(max_size=20))
def test_deltas_spell_the_bytes_with_replacement_and_hold_no_broken_character(data: bytes) -> None:
    deltas = run(data)
    assert text(deltas) == data.decode("utf-8", "replace")
    assert all(delta.text.encode() for delta in deltas if delta.text)


@pytest.mark.parametrize("source", [small.legacy(), small.metaspace("first"), small.metaspace("never")])
@pytest.mark.parametrize("pieces", [["\u2581", "\u2581hello"], ["\u2581hello", "\u2581hello"], ["\u2581"] * 3, ["a"]])
def test_the_space_that_the_tokenizer_adds_is_removed_once(source: str, pieces: list[str]) -> None:
    tokenizer = ChatTokenizer(source)
    builder = ChoiceBuilder(tokenizer, ChoiceOptions())
    for piece in pieces:
        token = tokenizer.id_of(piece)
        assert token is not None
        builder.feed(TokenEvent(1, 0, token))
    written = "".join(pieces).replace("\u2581", " ")
    assert builder.take().text == (written if "never" in source else written.removeprefix(" "))


def test_runs_of_spaces_that_are_added_tokens_are_shown_and_reported_as_spaces() -> None:
    tokenizer = ChatTokenizer(small.gemma())
    builder = ChoiceBuilder(tokenizer, ChoiceOptions(top_logprobs=0))
    text = "def add(a, b):\n    return a + b\n  - x"
    for piece in re.findall(f"{small.SPACE}+|.", text.replace(" ", small.SPACE), re.DOTALL):
        token = tokenizer.id_of(piece)
        assert token is not None
        builder.feed(TokenEvent(1, 0, token, logprob=-0.5, top=TOP))
    delta = builder.take()
    assert delta.text == text and b"".join(entry.bytes for entry in delta.entries) == text.encode()
    assert "    " in [entry.token for entry in delta.entries]


@settings(max_examples=200)
@given(st.text("aé€😀\n", max_size=12), st.lists(st.text("aé€😀\n", min_size=1, max_size=3), max_size=3))
def test_entries_match_the_visible_text(answer: str, stops: list[str]) -> None:
    deltas = run(answer.encode(), stops=stops, top_logprobs=2)
    released = text(deltas)
    spelled = b"".join(entry.bytes for delta in deltas for entry in delta.entries)
    assert spelled.decode("utf-8", "replace").startswith(released)
    assert spelled == released.encode()
    cut = [answer.find(stop) for stop in stops if stop in answer]
    assert released == answer if not cut else answer.startswith(released)
    assert deltas[-1].finish == v1.FINISH_REASON_STOP


def test_an_entry_never_comes_before_its_text() -> None:
    seen, spelled = "", b""
    for delta in run("a€xstop".encode(), stops=["stops"], top_logprobs=0):
        seen += delta.text
        spelled += b"".join(entry.bytes for entry in delta.entries)
        assert len(spelled) <= len(seen.encode()) or delta.finish


def test_entries_report_the_contract_values() -> None:
    entry = run("é".encode(), top_logprobs=2)[1].entries[0]
    assert (entry.token, entry.bytes, entry.logprob) == ("\\xc3", b"\xc3", -9999.0)
    assert [round(top.logprob, 3) for top in entry.top_logprobs] == [-0.1, -9999.0]
    exact = run(b"a", top_logprobs=0, exact_logprobs=True)[0].entries[0]
    assert exact.logprob == -0.5 and not exact.top_logprobs


def test_length_flushes_what_was_held_back() -> None:
    deltas = run(b"abc<sto", finish="length", stops=["<stop>"])
    assert text(deltas) == "abc<sto" and deltas[-1].finish == v1.FINISH_REASON_LENGTH


def test_stop_strings_are_not_looked_for_in_the_first_tokens() -> None:
    for min_tokens, expected in ((0, "a"), (2, "a"), (3, "axya"), (5, "axya"), (6, "axyaxyz")):
        deltas = run(b"axyaxyz", stops=("xy",), min_tokens=min_tokens)
        assert text(deltas) == expected, min_tokens


def test_what_the_parser_held_back_of_the_first_tokens_holds_no_stop_string() -> None:
    for min_tokens, expected in ((3, "a<"), (4, "a<tox"), (5, "a<tox")):
        deltas = run(b"a<tox", stops=("to",), min_tokens=min_tokens, calls=HERMES)
        assert text(deltas) == expected, min_tokens


def test_token_ids_come_with_the_output_of_their_tokens() -> None:
    data = "aé xyzz".encode()
    assert all(not delta.tokens for delta in run(data))
    deltas = run(data, stops=("xyq",), token_ids=True)
    pieces = [bytes([byte]) for byte in data]
    assert [token for delta in deltas for token in delta.tokens] == [
        *(BYTES[piece] for piece in pieces),
        LIBRARY.token_to_id("<|im_end|>"),
    ]
    assert all(delta.text or delta.finish for delta in deltas if delta.tokens)
    assert [len(delta.tokens) for delta in deltas] == [1, 0, 2, 1, 0, 0, 3, 1, 1]
