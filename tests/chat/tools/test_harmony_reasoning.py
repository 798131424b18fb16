"""Messages to the channel "analysis": they become thoughts, by the model's own tokens."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxchat import v1
from jaxchat.chat.tools.harmony import HARMONY
from jaxchat.chat.tools.harmony_reasoning import HARMONY_REASONING
from tests.chat.response.thinking import joined, said

TEXT = st.text("ab <é|>", max_size=8)
NEXT = "<|end|><|start|>assistant"
FINAL = "<|channel|>final<|message|>"
ANALYSIS = "<|channel|>analysis<|message|>"
CALL = " to=functions.f_1<|channel|>commentary <|constrain|>json<|message|>"


def read(text: str, **options) -> tuple[str, str]:
    return joined(said(text, HARMONY_REASONING, calls=HARMONY, **options))


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXT, max_size=2), TEXT)
def test_the_analysis_becomes_thoughts_and_the_last_message_content(thoughts: list[str], content: str) -> None:
    text = "".join(f"{ANALYSIS}{thought}{NEXT}" for thought in thoughts) + FINAL + content
    deltas = said(f"{text}<|im_end|>", HARMONY_REASONING, calls=HARMONY, top_logprobs=0)
    assert joined(deltas) == ("\n".join(filter(None, thoughts)), content)
    assert b"".join(entry.bytes for delta in deltas for entry in delta.entries) == content.encode()


@pytest.mark.parametrize(
    ("text", "thoughts", "content"),
    [
        (f"{ANALYSIS}a \\<|end|> b{NEXT}{FINAL}c", "a <|end|> b", "c"),
        (f"{ANALYSIS}never closed", "never closed", ""),
        (f"<|channel|>commentary<|message|>First.{NEXT}{FINAL}c", "", "First.c"),
        ("<|channel|>analysis to=python<|message|>1 + 1", "", ""),  # a call of a tool that the request lacks
        ("no message", "", "no message"),
        (f"{FINAL}a{NEXT}{ANALYSIS}b{NEXT}{FINAL}c", "b", "ac"),
    ],
)
def test_what_is_a_thought(text: str, thoughts: str, content: str) -> None:
    assert read(text) == (thoughts, content)


def test_a_call_comes_after_thoughts() -> None:
    deltas = said(f'{ANALYSIS}So.{NEXT}{CALL}{{"a": 1}}<|im_end|>', HARMONY_REASONING, calls=HARMONY)
    calls = [call for delta in deltas for call in delta.calls]
    assert joined(deltas) == ("So.", "") and deltas[-1].finish == v1.FINISH_REASON_TOOL_CALLS
    assert calls[0].name == "f_1" and json.loads("".join(call.arguments for call in calls)) == {"a": 1}


def test_stop_strings_apply_to_the_content_alone() -> None:
    assert read(f"{ANALYSIS}stop{NEXT}{FINAL}a stop b", stops=["stop"]) == ("stop", "a ")
