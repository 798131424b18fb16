"""A conversation: what is printed, what is sent back, and how it ends early."""

from __future__ import annotations

from typing import Any

import pytest

from jaxchat.errors import ChatError
from serving.terminal.conversation import AnswerOptions, Conversation
from serving.terminal.display import Display
from tests.serving.terminal.replies import Replies


def conversation(replies: Replies, *, thoughts: bool = True) -> Conversation:
    return Conversation(replies, None, AnswerOptions(), Display(thoughts=thoughts))


@pytest.mark.parametrize(
    ("deltas", "printed", "answer"),
    [
        ([{"content": ""}, {"content": "Fo"}, {"content": "ur."}], "Four.\n", {"content": "Four."}),
        (
            [
                {"content": ""},
                {"reasoning_content": "2 + "},
                {"reasoning_content": "2"},
                {"content": "Four"},
                {"content": "."},
            ],
            "2 + 2\n\nFour.\n",
            {"reasoning_content": "2 + 2", "content": "Four."},
        ),
        ([{"reasoning_content": "2"}], "2\n", {"reasoning_content": "2", "content": ""}),
    ],
)
def test_thoughts_are_printed_in_front_of_the_text_and_sent_back(
    capsys: pytest.CaptureFixture[str], deltas: list[dict[str, Any]], printed: str, answer: dict[str, str]
) -> None:
    replies = Replies(deltas, [])
    chat = conversation(replies)
    chat.say("2 + 2?")
    assert capsys.readouterr().out == printed
    chat.say("Sure?")
    users = [{"role": "user", "content": text} for text in ("2 + 2?", "Sure?")]
    assert replies.sent[1] == [users[0], {"role": "assistant", **answer}, users[1]]


def test_thoughts_that_are_not_shown_are_sent_back_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    replies = Replies([{"reasoning_content": "2 + 2"}, {"content": "Four."}], [])
    chat = conversation(replies, thoughts=False)
    chat.say("2 + 2?")
    assert capsys.readouterr().out == "Four.\n"
    chat.say("Sure?")
    assert replies.sent[1][1]["reasoning_content"] == "2 + 2"


def test_an_interrupted_answer_stays_and_a_failed_one_does_not() -> None:
    replies = Replies(
        [{"content": "One"}, KeyboardInterrupt()], [KeyboardInterrupt()], [{"content": "T"}, ChatError("torn")], []
    )
    chat = conversation(replies)
    for error in (KeyboardInterrupt, KeyboardInterrupt, ChatError):
        with pytest.raises(error):
            chat.say("Count.")
    chat.say("Go on.")
    assert [message["content"] for message in replies.sent[-1]] == ["Count.", "One", "Go on."]


def test_undo_removes_a_question_with_its_answer() -> None:
    replies = Replies([{"content": "1"}], [{"content": "2"}], [])
    chat = conversation(replies)
    chat.say("one")
    chat.say("two")
    assert chat.undo() == "two"
    chat.say("three")
    assert [message["content"] for message in replies.sent[-1]] == ["one", "1", "three"]
    assert [chat.undo(), chat.undo(), chat.undo()] == ["three", "one", None]


def test_an_answer_that_was_cut_says_so_outside_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    conversation(Replies([{"content": "On"}], finish_reason="length")).say("One?")
    output = capsys.readouterr()
    assert output.out == "On\n" and "cut off at --max-tokens" in output.err


def test_calls_of_tools_are_printed_as_calls(capsys: pytest.CaptureFixture[str]) -> None:
    calls = [
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "weather", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Oslo"}'}}]},
        {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "clock", "arguments": "{}"}}]},
    ]
    conversation(Replies([{"content": "Let me look."}, *calls])).say("How is Oslo?")
    assert capsys.readouterr().out == 'Let me look.\n\ncalls weather({"city": "Oslo"})\ncalls clock({})\n'
