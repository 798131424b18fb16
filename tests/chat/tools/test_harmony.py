"""Answers in messages to channels: what the user sees of them, however they are cut into tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxchat import v1
from jaxchat.chat.tools.harmony import HARMONY
from tests.chat.grammar.test_tool_calls import tool_request
from tests.chat.grammar.test_tool_writer import follows
from tests.chat.tools.test_json_parser import CUTS, OBJECTS, deltas, joined

TEXT = st.text("ab <é|>\n{", max_size=8)
THOUGHTS = st.lists(TEXT, max_size=2).map(
    lambda texts: "".join(f"<|channel|>analysis<|message|>{text}<|end|><|start|>assistant" for text in texts)
)
CALL = "<|channel|>commentary to=functions.f_1 <|constrain|>json<|message|>"
THOUGHT = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
HEADERS = (CALL, " to=functions.f_1<|channel|>commentary json<|message|>", CALL.replace("<|constrain|>", ""))


@settings(max_examples=300, deadline=None)
@given(THOUGHTS, TEXT, CUTS)
def test_the_user_sees_the_last_message_alone(thoughts: str, content: str, cuts: list[int]) -> None:
    text = f"{thoughts}<|channel|>final<|message|>{content}"
    found = deltas(text, cuts, calls=HARMONY, top_logprobs=0)
    assert joined(found) == (content, []) and found[-1].finish == v1.FINISH_REASON_STOP
    bytewise = deltas(text, list(range(len(text.encode()))), calls=HARMONY, top_logprobs=0)
    assert b"".join(entry.bytes for delta in bytewise for entry in delta.entries) == content.encode()


@settings(max_examples=300, deadline=None)
@given(THOUGHTS, st.sampled_from(HEADERS), OBJECTS, st.sampled_from(["", "<|call|>"]), CUTS)
def test_calls_are_read_from_their_header_on(
    thoughts: str, header: str, given: dict[str, Any], end: str, cuts: list[int]
) -> None:
    arguments = json.dumps(given, ensure_ascii=False)
    found = deltas(f"{thoughts}{header}{arguments}{end}", cuts, calls=HARMONY)
    assert joined(found) == ("", [arguments]) and found[-1].finish == v1.FINISH_REASON_TOOL_CALLS


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no message <|chan", "no message <|chan"),
        (
            "<|channel|>commentary<|message|>First this.<|end|><|start|>assistant<|channel|>final<|message|>x",
            "First this.x",
        ),
        ("<|channel|>analysis<|message|>secret", ""),
        ("<|channel|>analysis to=python<|message|>1 + 1", ""),
        ("<|channel|>final", ""),
        (" to=functions.f", ""),
        (" to", " to"),
        (f"{CALL}{{}}", ""),
    ],
)
def test_what_is_not_for_the_user_stays_hidden(text: str, shown: str) -> None:
    for cuts in ([], list(range(len(text)))):
        assert joined(deltas(text, cuts, calls=HARMONY, callable=False)) == (shown, [])


@given(CUTS)
def test_a_recipient_is_sought_at_the_beginning_alone(cuts: list[int]) -> None:
    assert joined(deltas("go to=5<|channel|>final<|message|>x", cuts, calls=HARMONY)) == ("go to=5x", [])


def test_a_cut_call_keeps_its_fragment() -> None:
    found = deltas(f'{CALL}{{"a": "b', [], finish="length", calls=HARMONY, forced=True)
    assert joined(found) == ("", ['{"a": "b']) and found[-1].finish == v1.FINISH_REASON_LENGTH


def test_stop_strings_are_sought_in_what_is_shown() -> None:
    text = "<|channel|>analysis<|message|>stop<|end|><|start|>assistant<|channel|>final<|message|>a stop b"
    assert joined(deltas(text, [], calls=HARMONY, stops=["stop"])) == ("a ", [])


@pytest.mark.parametrize(("control", "thought"), [(True, ""), (False, ""), (True, THOUGHT)])
@pytest.mark.parametrize("header", HEADERS[:2])
def test_the_grammar_allows_a_recipient_before_the_channel(header: str, thought: str, control: bool) -> None:
    tools = {"f_1": {"type": "object", "properties": {}}}
    assert follows("harmony", control, tool_request(tools, "auto"), f"{thought}{header}{{}}")
    assert not follows("harmony", control, tool_request(tools, "auto"), f"{thought}{header.replace('f_1', 'f_2')}{{}}")
    assert follows("harmony", control, tool_request(tools, "required"), f"{header}{{}}")
    assert not follows("harmony", control, tool_request(tools, "none"), f"{header}{{}}")
