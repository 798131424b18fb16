"""Thoughts between two tokens: what begins and ends them, and what is text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxchat.chat.response.thought_tags import GEMMA4, MISTRAL, THINK
from tests.chat.response.thinking import joined, said

TEXT = st.text("ab é<\n", max_size=8)


@pytest.mark.parametrize(
    ("prompt", "text", "thoughts", "content"),
    [
        ("a\n", "<think>\nSo.\n</think>\n\nFour.", "So.", "Four."),
        ("a\n<think>\n", "So.\n</think>\n\nFour.", "So.", "Four."),
        ("a\n<think>", "So.</think>Four.", "So.", "Four."),
        ("a\n<think>\n\n</think>\n\n", "Four.", "", "Four."),
        ("a\n</think>", "\nFour.", "", "Four."),
        ("a\n</think>\n", "\nFour.", "", "\nFour."),
        ("a\n", "Four.", "", "Four."),
        ("a\n", "<think>\n\n</think>\n\n  Four.", "", "  Four."),
        ("a\n", "\n<think>So.</think>Four.", "So.", "Four."),
        ("a\n", " <think>So.</think>Four.", "So.", " Four."),
        ("", "<think>So.</think>Four.", "So.", "Four."),
        ("a\n", "<think>a\n\nb</think>", "a\n\nb", ""),
        ("a\n", "<think>a</think>\n\n\n b\n", "a", "\n b\n"),  # two line breaks belong to the marker
        ("a\n", "<think>never closed\n", "never closed", ""),
        ("a\n", "<think>one</think>\n<think>two</think>\nFour.", "one\ntwo", "Four."),
        ("say <think>x", "Four.", "", "Four."),  # text of a message
    ],
)
def test_thoughts_are_split_off_wherever_they_were_opened(prompt: str, text: str, thoughts: str, content: str) -> None:
    assert joined(said(text, prompt=prompt)) == (thoughts, content)


@pytest.mark.parametrize(
    ("text", "thoughts", "content"),
    [
        ("<think>a \\</think> b</think>c", "a </think> b", "c"),
        ("<think>a <think> b</think>c", "a <think> b", "c"),
        ("\\<think>a\\</think>b", "", "<think>a</think>b"),
        ("<think>a</think>Write <think> and </think>.", "a", "Write <think> and </think>."),
        ("Write <think>.", "", "Write <think>."),
    ],
)
def test_text_that_spells_a_marker_stays_text(text: str, thoughts: str, content: str) -> None:
    assert joined(said(text)) == (thoughts, content)


def test_a_control_token_opens_thoughts_anywhere_and_is_never_shown() -> None:
    assert joined(said("a[THINK]b[/THINK]c[/THINK]", MISTRAL)) == ("b", "ac")
    assert joined(said("[THINK]b\\[/THINK]c", MISTRAL)) == ("b[/THINK]c", "")


@pytest.mark.parametrize("text", ["<|channel>thought\nb\n<channel|>c", "<|channel>thought\n<channel|>c"])
def test_the_name_of_the_channel_is_not_a_thought(text: str) -> None:
    assert joined(said(text, GEMMA4)) == ("b" * ("b" in text), "c")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), TEXT), max_size=3), TEXT)
def test_every_token_is_one_of_thought_content_or_marker(blocks: list[tuple[bool, str]], content: str) -> None:
    written = "".join(f"[THINK]{text}[/THINK]" if thought else text for thought, text in blocks) + content
    thoughts, shown = joined(said(f"{written}<|im_end|>", MISTRAL))
    expected = [text.strip("\n") for thought, text in blocks if thought]
    assert thoughts == "\n".join(text for text in expected if text)
    plain = "".join(text for thought, text in blocks if not thought) + content
    assert shown.replace("\n", "") == plain.replace("\n", "")


def test_thoughts_arrive_as_they_come() -> None:
    deltas = said("<think>\nab\n\n\nc\n</think>\n\nd")
    assert [delta.thoughts for delta in deltas if delta.thoughts] == ["a", "b", "\n\n\nc"]
    assert [delta.text for delta in deltas if delta.text] == ["d"]


def test_recognised_by_the_closing_token() -> None:
    assert THINK.recognises("{{ content.split('</think>')[-1] }}") and not THINK.recognises("<think>")
