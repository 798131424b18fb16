"""The chat in the terminal: what it prints and what it sends back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from jaxchat import v1
from jaxchat.client import ChatCompletionChunk
from serving.cli.chat import Conversation

Deltas = list[dict[str, str]]


class Replies:
    """Streams of the given deltas, one for each question. Keeps the messages that were sent."""

    def __init__(self, *answers: Deltas) -> None:
        self._answers = iter(answers)
        self.sent: list[Any] = []

    @contextmanager
    def ask(self, messages: list[Any]) -> Iterator[Iterator[ChatCompletionChunk]]:
        self.sent.append(messages)
        yield map(_chunk, next(self._answers))


def _chunk(delta: dict[str, str]) -> ChatCompletionChunk:
    choice = v1.ChunkChoice(delta=v1.Delta(**delta))
    return ChatCompletionChunk.from_proto(v1.ChatCompletionChunk(choices=[choice]))


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
    capsys: pytest.CaptureFixture[str], deltas: Deltas, printed: str, answer: dict[str, str]
) -> None:
    replies = Replies(deltas, [])
    chat = Conversation(replies.ask, None)  # type: ignore[arg-type]
    chat.say("2 + 2?")
    assert capsys.readouterr().out == printed
    chat.say("Sure?")
    users = [{"role": "user", "content": text} for text in ("2 + 2?", "Sure?")]
    assert replies.sent[1] == [users[0], {"role": "assistant", **answer}, users[1]]
